# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop every further release of a key in one action: all its versions, or one, are disabled, and the policy may be narrowed.

``not_before`` and ``expires_on`` stop nothing: the service releases keys outside their validity all the same.
"""

from __future__ import annotations

import typing as t

from ..policy import canonical, compare, model
from ..policy.failure import SkrFailure
from . import key, key_apply, key_facts, key_policy, key_target
from .clients import SAFE_TO_REPEAT, Connection, errors


def ensure(connection: Connection, wanted: key.Wanted, check_mode: bool) -> t.Dict[str, t.Any]:
    """Disable what is enabled, then set the policy if one is given; returns the module's result.

    Raises SkrFailure; where some versions could be disabled and others not, its facts list both.
    """
    policy = key.check(wanted)
    findings = key_policy.review(policy, None, False, wanted.lint)
    with key.place(connection, wanted.at):
        result = _stop(connection, wanted, policy, check_mode)
    result["lint"], result["warnings"] = key_policy.told(findings, None)
    return result


def _stop(
    connection: Connection, wanted: key.Wanted, policy: t.Optional[model.Policy], check_mode: bool
) -> t.Dict[str, t.Any]:
    client = connection.keys(wanted.at.uri)
    found = key_target.get(client, wanted.at, connection, check_mode, wanted.version)
    if found is None:
        raise SkrFailure("key_not_found", f"There is no key {wanted.name} at {wanted.at.uri}.", {"kid": wanted.name})
    listed = key_facts.versions(client, wanted.name)
    meant = [one for one in listed if wanted.version in (None, one["version"])]
    open_ones = [one["version"] for one in meant if one["enabled"]]
    shown = key_facts.describe(found)
    live = key_facts.parsed(shown["release_policy"])
    narrowed = policy is not None and (live is None or not compare.equal(policy, live))
    if narrowed and shown["immutable"] and not open_ones:
        raise SkrFailure("policy_immutable", f"The release policy of {wanted.name} is immutable and differs.")
    result: t.Dict[str, t.Any] = {
        "changed": bool(open_ones or narrowed), "stopped_versions": open_ones, **wanted.at.result(),
    }  # fmt: skip
    if not result["changed"]:
        return {**result, **key_facts.facts(found), "versions": listed}
    before: t.Dict[str, t.Any] = {"enabled_versions": open_ones}
    after: t.Dict[str, t.Any] = {"enabled_versions": []}
    if narrowed and policy is not None:
        before["release_policy"], after["release_policy"] = shown["release_policy"], canonical.as_dict(policy)
    result["diff"] = {"before": before, "after": after}
    if not check_mode:
        _disable(client, wanted.name, open_ones)
        if narrowed and policy is not None:
            with errors(f"key {wanted.name}"):
                text = key_apply.policy_model(canonical.dump(policy), False)
                client.update_key_properties(wanted.name, release_policy=text, **SAFE_TO_REPEAT)
        found = key_target.get(client, wanted.at, connection, check_mode, wanted.version) or found
        listed = key_facts.versions(client, wanted.name)
    return {**result, **key_facts.facts(found), "versions": listed}


def _disable(client: t.Any, name: str, versions: t.Sequence[str]) -> None:
    """All of them, also after one that fails: each one stopped is one less that can be had."""
    failed: t.List[t.Tuple[str, SkrFailure]] = []
    for version in versions:
        try:
            with errors(f"version {version} of key {name}"):
                client.update_key_properties(name, version, enabled=False, **SAFE_TO_REPEAT)
        except SkrFailure as failure:
            failed.append((version, failure))
    if failed:
        first = failed[0][1]
        still = [version for version, _failure in failed]
        raise SkrFailure(
            first.reason,
            f"{len(still)} of {len(versions)} versions of {name} are still enabled ({', '.join(still)}): {first.message}",
            {**first.facts, "still_enabled": still, "disabled": [one for one in versions if one not in still]},
        )
