# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a key: attributes, decoded policy, public half, versions. Nothing of it is secret."""

from __future__ import annotations

import datetime
import typing as t

from ..policy import canonical, model
from ..policy.failure import SkrFailure
from .clients import errors
from .public_key import public_key


def describe(found: t.Any) -> t.Dict[str, t.Any]:
    """The parts of a key that are compared and shown; the policy is decoded."""
    properties, key = found.properties, found.key
    policy = properties.release_policy
    document = _document(policy.encoded_policy) if policy else None
    return {
        "version": properties.version,
        "key_type": str(getattr(found.key_type, "value", found.key_type)),
        "key_size": 8 * len(key.n.lstrip(b"\0")) if key.n else None,
        "curve": str(getattr(key.crv, "value", key.crv)) if key.crv else None,
        "exportable": bool(properties.exportable),
        "enabled": properties.enabled,
        "not_before": seconds(properties.not_before),
        "expires_on": seconds(properties.expires_on),
        "key_ops": sorted(str(getattr(operation, "value", operation)) for operation in found.key_operations or []),
        "tags": properties.tags or {},
        "release_policy": document,
        "immutable": bool(policy and policy.immutable),
    }


def parsed(document: t.Any) -> t.Optional[model.Policy]:
    """The model of a live policy; None when it does not follow our grammar, which is no fault of this call."""
    try:
        return model.parse(document)
    except SkrFailure:
        return None


def _document(text: bytes) -> t.Any:
    """A live policy for showing: in canonical form, or as it is."""
    policy = parsed(text)
    return canonical.as_dict(policy) if policy else text.decode("utf-8", "replace")


def seconds(moment: t.Optional[datetime.datetime]) -> t.Optional[int]:
    return int(moment.timestamp()) if moment else None


def facts(found: t.Any) -> t.Dict[str, t.Any]:
    """Public facts of a key for results."""
    shown = describe(found)
    public = public_key(found.key)
    return {"kid": found.id, "key_version": found.properties.version, "key": shown, **public}


def versions(client: t.Any, name: str) -> t.List[t.Dict[str, t.Any]]:
    """All versions, newest first; the service promises no order."""
    with errors(f"the versions of key {name}"):
        found = [
            {
                "kid": item.id,
                "version": item.version,
                "enabled": item.enabled,
                "created": seconds(item.created_on),
                "not_before": seconds(item.not_before),
                "expires_on": seconds(item.expires_on),
            }
            for item in client.list_properties_of_key_versions(name)
        ]
    return sorted(found, key=lambda item: (item["created"], item["version"]), reverse=True)
