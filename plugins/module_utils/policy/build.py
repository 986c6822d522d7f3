# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release policy from named parameters: flat branches, one for each TEE, authority and bound VM.

Debugging is excluded and Azure's compliance verdict required unless the parameters say otherwise. Values of several
kinds multiply: two VM ids and two launch measurements make four branches; with ``nested`` they become groups instead.
"""

from __future__ import annotations

import itertools
import typing as t

from . import canonical, model, parameters
from . import vocabulary as words
from .failure import SkrFailure
from .near import MISSING, Index
from .parameters import Parameters

MAX_BRANCHES = 64
_Condition = t.Dict[str, t.Any]


def release_policy(document: t.Any) -> t.Dict[str, t.Any]:
    """The policy, in canonical form, for the parameters of :mod:`parameters`. Raises SkrFailure ``invalid_input``."""
    rules: t.List[t.Dict[str, t.Any]] = []
    for wanted in parameters.read(document):
        for authority, conditions in itertools.product(wanted.authorities, _branches(wanted)):
            rules.append({"authority": authority, "allOf": conditions})
    if len(rules) > MAX_BRANCHES:
        raise SkrFailure(
            "invalid_input",
            f"release_policy: the parameters make {len(rules)} branches, wanted at most {MAX_BRANCHES}: "
            "set nested to true, use fewer values, or use several keys.",
            {"option": "vm_unique_ids"},
        )
    return canonical.as_dict(model.parse({"version": "1.0.0", "anyOf": rules}))


def _branches(wanted: Parameters) -> t.Iterator[t.List[_Condition]]:
    common = [_equals(path, value) for path, value in _fixed(wanted)]
    common += [
        {"claim": words.SVNS[wanted.tee_type][name], "greaterOrEquals": number}
        for name, number in wanted.minimum_svns.items()
    ]
    choices = [[_equals(path, value) for value in values] for path, values in _choices(wanted) if values]
    for pins in _pins(wanted):
        fixed = common + [_equals(path, value) for path, value in pins.items()]
        if wanted.nested:
            yield fixed + [options[0] if len(options) == 1 else {"anyOf": options} for options in choices]
            continue
        for chosen in itertools.product(*choices):
            yield fixed + list(chosen)


def _equals(path: str, value: t.Any) -> _Condition:
    return {"claim": path, "equals": value}


def _fixed(wanted: Parameters) -> t.Iterator[t.Tuple[str, t.Any]]:
    if wanted.tee_type == words.TRUSTED_LAUNCH:
        yield words.OUTER_TYPE, words.OUTER_VALUE
    else:
        yield words.TYPE, wanted.tee_type
        if wanted.require_compliant_cvm:
            yield words.COMPLIANCE, words.COMPLIANT
        if not wanted.allow_debug:
            yield words.DEBUG[wanted.tee_type], False
    secure_boot = wanted.secure_boot
    if secure_boot is None and wanted.tee_type == words.TRUSTED_LAUNCH:
        secure_boot = True  # without it such a VM proves nothing at all
    if secure_boot is not None:
        yield words.SECURE_BOOT, secure_boot
    for name, flag in wanted.log_booleans.items():
        yield words.LOG_BOOLEANS[name][0], flag
    yield from wanted.claims.items()


def _choices(wanted: Parameters) -> t.Iterator[t.Tuple[str, t.Sequence[str]]]:
    tee = wanted.tee_type
    # SNP tokens have VM ids in upper case; the claim of Trusted Launch is as that of SNP. TDX tokens are documented with
    # lower case, and the captured evidence of a TDX VM has upper case: either may be met.
    ids = [one.upper() for one in wanted.vm_unique_ids]
    if tee == words.TDX:
        ids = list(dict.fromkeys(text for one in ids for text in (one.lower(), one)))
    yield words.VM_ID if tee == words.TRUSTED_LAUNCH else words.VM_UNIQUE_ID, ids
    for paths, values in (
        (words.HOST_DATA, wanted.host_data),
        (words.LAUNCH_MEASUREMENT, wanted.launch_measurements),
        (words.ID_KEY_DIGEST, wanted.id_key_digests),
    ):
        if values:
            yield paths[tee], values


def _pins(wanted: Parameters) -> t.Iterator[t.Dict[str, t.Any]]:
    """The pinned claims: as in the golden token, and with the planned change; in stage contract the latter alone."""
    if not wanted.pin:
        yield {}
        return
    pinned = pins(wanted.golden_claims, wanted.pin, wanted.tee_type)
    if not wanted.planned_change:
        yield pinned
        return
    for path in wanted.planned_change:
        if path not in pinned:
            raise SkrFailure(
                "invalid_input",
                f"release_policy: planned_change names {path}, wanted one of the pinned claims {', '.join(pinned)}.",
                {"option": "planned_change"},
            )
    if wanted.planned_stage == "overlap":
        yield pinned
    yield {**pinned, **wanted.planned_change}


def pins(golden: t.Mapping[str, t.Any], names: t.Sequence[str], tee: str) -> t.Dict[str, t.Any]:
    """Claims of a golden token as conditions: claim path -> value.

    A name is one of :data:`parameters.PINS` or a claim's path. Raises SkrFailure ``invalid_input`` for a claim that the
    token does not hold or that cannot be compared.
    """
    found: t.Dict[str, t.Any] = {}
    index = Index(golden)
    for path in itertools.chain.from_iterable(_paths(name, tee) for name in names):
        value = index.lookup(path)
        if value is MISSING or not isinstance(value, (str, int, float)):
            kind = "nothing there" if value is MISSING else "a value that cannot be compared"
            ways = " PCR values are no claims of guest tokens." if words.names_pcr(path) else ""
            raise SkrFailure(
                "invalid_input",
                f"release_policy: pin names {path}, but golden_claims has {kind}, wanted a text, number or boolean.{ways}",
                {"option": "pin", "claim": path},
            )
        found[path] = value
    return found


def _paths(name: str, tee: str) -> t.List[str]:
    """The claims behind a short name."""
    single = {
        "launch_measurement": words.LAUNCH_MEASUREMENT.get(tee),
        "id_key_digest": words.ID_KEY_DIGEST.get(tee),
        "host_data": words.HOST_DATA.get(tee),
        "secure_boot": words.SECURE_BOOT,
        "vm_unique_id": words.VM_ID if tee == words.TRUSTED_LAUNCH else words.VM_UNIQUE_ID,
    }
    if name in single:
        path = single[name]
        if path is None:
            raise SkrFailure(
                "invalid_input",
                f"release_policy: pin names {name}, wanted another, because tokens of tee_type {tee} have no such claim.",
                {"option": "pin"},
            )
        return [path]
    if name == "svns":
        return list(words.SVNS.get(tee, {}).values())
    if name == "log_booleans":
        return [path for path, _meaning in words.LOG_BOOLEANS.values()]
    return [name]
