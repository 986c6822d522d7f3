# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a record of evidence and checks its layout; whether what it says is true is for :mod:`verify`."""

from __future__ import annotations

import calendar
import re
import time
import typing as t

from ..guest import documents
from ..guest.record import FAILED, REFUSED, RELEASED, SCHEMA
from ..policy.failure import SkrFailure

Record = t.Dict[str, t.Any]
LARGEST = 1 << 20
IDENTIFIER = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_TEXT, _OBJECT, _FLAG, _LIST = (str,), (dict,), (bool,), (list,)
_NULL = type(None)
# Members by dotted path, and what they may be; what nobody came to know is null, and never left out. An optional object's
# members count only where it is there.
_LAYOUT: t.Tuple[t.Tuple[str, t.Tuple[type, ...]], ...] = (
    ("times", _OBJECT),
    ("host", _OBJECT),
    ("host.name", _TEXT),
    ("host.vm_id", (str, _NULL)),
    ("tool", _OBJECT),
    ("tool.version", _TEXT),
    ("tool.door", _TEXT),
    ("request", _OBJECT),
    ("request.vault_uri", (str, _NULL)),
    ("request.hsm_uri", (str, _NULL)),
    ("request.key_name", _TEXT),
    ("request.key_version", (str, _NULL)),
    ("request.attestation_url", _TEXT),
    ("reason", _TEXT),
    ("message", (str, _NULL)),
    ("facts", _OBJECT),
    ("security_event", _FLAG),
    ("key", (dict, _NULL)),
    ("key.kid", _TEXT),
    ("key.version", _TEXT),
    ("request_id", (str, _NULL)),
    ("policy", (dict, _NULL)),
    ("policy.sha256", (str, _NULL)),
    ("policy.document", (dict, _NULL)),
    ("policy.satisfied", (bool, _NULL)),
    ("policy.trace", (list, _NULL)),
    ("policy.failing", (list, _NULL)),
    ("attestation", (dict, _NULL)),
    ("attestation.authority", _TEXT),
    ("attestation.token", (dict, _NULL)),
    ("attestation.token.protected", _TEXT),
    ("attestation.token.payload", _TEXT),
    ("attestation.token.signature", _TEXT),
    ("attestation.signing_key", (dict, _NULL)),
    ("attestation.signing_key.kid", _TEXT),
    ("attestation.signing_key.x5c", _LIST),
    ("attestation.claims", _OBJECT),
    ("evidence", (dict, _NULL)),
    ("warnings", _LIST),
)
_TIMES = (("started", True), ("attested", False), ("answered", False), ("ended", True))


def read(content: bytes, where: str) -> Record:
    """A record; ``where`` names the file in messages. Raises SkrFailure ``record_invalid``."""
    if len(content) > LARGEST:
        raise _invalid(where, f"it has {len(content)} bytes, wanted {LARGEST} at most")
    try:
        document = documents.loads(content)
    except ValueError as error:
        raise _invalid(where, "it is no JSON document") from error
    if not isinstance(document, dict):
        raise _invalid(where, "it is no JSON object")
    check(document, where)
    return document


def check(document: t.Mapping[str, t.Any], where: str) -> None:
    """The layout alone. Raises SkrFailure ``record_invalid``."""
    if document.get("schema") != SCHEMA:
        raise _invalid(where, f"schema is {str(document.get('schema'))[:80]!r}, wanted {SCHEMA!r}")
    if not isinstance(document.get("id"), str) or not IDENTIFIER.fullmatch(document["id"]):
        raise _invalid(where, "id is not a time and six hex digits")
    if document.get("outcome") not in (RELEASED, REFUSED, FAILED):
        raise _invalid(where, f"outcome is {str(document.get('outcome'))[:80]!r}")
    for path, kinds in _LAYOUT:
        _member(document, path, kinds, where)
    for name, required in _TIMES:
        found = document["times"].get(name)
        if (found is None and required) or (found is not None and seconds(found) is None):
            raise _invalid(where, f"times.{name} is no time such as 2026-11-25T12:00:00Z")


def _member(document: t.Mapping[str, t.Any], path: str, kinds: t.Tuple[type, ...], where: str) -> None:
    *parents, name = path.split(".")
    place: t.Any = document
    for parent in parents:
        place = place.get(parent)
        if place is None:
            return
    if name not in place:
        raise _invalid(where, f"{path} is missing")
    found = place[name]
    if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
        wanted = " or ".join("null" if kind is _NULL else kind.__name__ for kind in kinds)
        raise _invalid(where, f"{path} is of type {type(found).__name__}, wanted {wanted}")


def seconds(text: t.Any) -> t.Optional[float]:
    """Unix seconds of a time as records have it, or None."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return None


def token(record: t.Mapping[str, t.Any]) -> t.Optional[str]:
    """The attestation token in the compact form that checks take, for the length of a check; None where there is none."""
    found = (record.get("attestation") or {}).get("token")
    return None if found is None else ".".join(found[name] for name in ("protected", "payload", "signature"))


def _invalid(where: str, what: str) -> SkrFailure:
    return SkrFailure("record_invalid", f"{where} is no record of evidence: {what}.", {"file": where})
