# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named parameters of a release policy: their names, types and limits, checked before anything is built.

A value that cannot work is named with its parameter, the value found and the value wanted.
"""

from __future__ import annotations

import re
import typing as t

from . import authority
from . import vocabulary as words
from .failure import SkrFailure

_GUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HEX = r"[0-9a-fA-F]+"
PINS = ("launch_measurement", "id_key_digest", "host_data", "secure_boot", "vm_unique_id", "svns", "log_booleans")


class Parameters(t.NamedTuple):
    """One kind of VM at one or more authorities. Empty tuples and None: no condition."""

    authorities: t.Tuple[str, ...]
    tee_type: str = words.SNP
    require_compliant_cvm: bool = True
    allow_debug: bool = False
    vm_unique_ids: t.Tuple[str, ...] = ()
    host_data: t.Tuple[str, ...] = ()
    launch_measurements: t.Tuple[str, ...] = ()
    id_key_digests: t.Tuple[str, ...] = ()
    minimum_svns: t.Mapping[str, int] = {}
    secure_boot: t.Optional[bool] = None
    log_booleans: t.Mapping[str, bool] = {}
    claims: t.Mapping[str, t.Any] = {}
    golden_claims: t.Mapping[str, t.Any] = {}
    pin: t.Tuple[str, ...] = ()
    planned_change: t.Mapping[str, t.Any] = {}
    planned_stage: str = "overlap"
    nested: bool = False


_NAMES = {
    "authority", "tee_type", "require_compliant_cvm", "allow_debug", "vm_unique_ids", "host_data",
    "launch_measurements", "id_key_digests", "minimum_svns", "secure_boot", "log_booleans", "claims",
    "golden_claims", "pin", "planned_change", "planned_stage", "nested",
}  # fmt: skip


def read(document: t.Any) -> t.List[Parameters]:
    """All kinds of VM that the parameters describe: one, or those of ``branches``, which inherit the outer ones.

    Raises SkrFailure ``invalid_input``.
    """
    outer = _mapping("the parameters", document)
    branches = outer.get("branches")
    common = {name: value for name, value in outer.items() if name != "branches"}
    if branches is None:
        return [_one(common, "")]
    if not isinstance(branches, (list, tuple)) or not branches:
        raise _wrong("branches", branches, "a list with at least one branch")
    found = []
    for index, branch in enumerate(branches):
        place = f"branches[{index}]"
        found.append(_one({**common, **_mapping(place, branch)}, f"{place}."))
    return found


def _one(document: t.Mapping[str, t.Any], place: str) -> Parameters:
    for name in document:
        if name not in _NAMES:
            raise _wrong(f"{place}{name}", document[name], f"one of the parameters {', '.join(sorted(_NAMES))}")
    given = {name: value for name, value in document.items() if value is not None}

    def value(name: str, default: t.Any) -> t.Any:
        return given.get(name, default)

    tee = value("tee_type", words.SNP)
    if tee not in words.TEES:
        raise _wrong(f"{place}tee_type", tee, f"one of {', '.join(words.TEES)}")
    digits = {member: words.CLAIMS[paths[tee]].digits if tee in paths else 0 for member, paths in _HEX_CLAIMS.items()}
    stage = value("planned_stage", "overlap")
    if stage not in ("overlap", "contract"):
        raise _wrong(f"{place}planned_stage", stage, "overlap (old and new value) or contract (the new value alone)")
    made = Parameters(
        authorities=_texts(f"{place}authority", value("authority", ()), _authority),
        tee_type=tee,
        require_compliant_cvm=_flag(f"{place}require_compliant_cvm", value("require_compliant_cvm", True)),
        allow_debug=_flag(f"{place}allow_debug", value("allow_debug", False)),
        vm_unique_ids=_texts(f"{place}vm_unique_ids", value("vm_unique_ids", ()), _guid),
        secure_boot=None if "secure_boot" not in given else _flag(f"{place}secure_boot", given["secure_boot"]),
        minimum_svns=_svns(f"{place}minimum_svns", value("minimum_svns", {}), tee),
        log_booleans=_booleans(f"{place}log_booleans", value("log_booleans", {})),
        claims=_values(f"{place}claims", value("claims", {})),
        golden_claims=_mapping(f"{place}golden_claims", value("golden_claims", {})),
        pin=_texts(f"{place}pin", value("pin", ()), lambda _name, text: text),
        planned_change=_values(f"{place}planned_change", value("planned_change", {})),
        planned_stage=stage,
        nested=_flag(f"{place}nested", value("nested", False)),
        **{
            member: _texts(f"{place}{member}", value(member, ()), _digits(digits[member], tee))
            for member in _HEX_CLAIMS
        },
    )
    if not made.authorities:
        raise _wrong(
            f"{place}authority",
            given.get("authority"),
            "the attestation authority, such as https://sharedweu.weu.attest.azure.net",
        )
    if made.pin and not made.golden_claims:
        raise _wrong(f"{place}golden_claims", None, "the claims of a golden VM's token, because pin is given")
    if made.planned_change and not made.pin:
        raise _wrong(f"{place}pin", None, "what is pinned, because planned_change is given")
    return made


_HEX_CLAIMS = {
    "host_data": words.HOST_DATA,
    "launch_measurements": words.LAUNCH_MEASUREMENT,
    "id_key_digests": words.ID_KEY_DIGEST,
}


def _wrong(name: str, found: t.Any, wanted: str) -> SkrFailure:
    shown = "nothing" if found is None else repr(found)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return SkrFailure("invalid_input", f"release_policy: {name} is {shown}, wanted {wanted}.", {"option": name})


def _mapping(name: str, value: t.Any) -> t.Dict[str, t.Any]:
    if not isinstance(value, t.Mapping) or not all(isinstance(member, str) for member in value):
        raise _wrong(name, value, "a dictionary")
    return dict(value)


def _flag(name: str, value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _texts(name: str, value: t.Any, check: t.Callable[[str, str], str]) -> t.Tuple[str, ...]:
    """A text or a list of texts, each checked, duplicates left out."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)):
        raise _wrong(name, value, "a text or a list of texts")
    found = []
    for index, item in enumerate(items):
        if not isinstance(item, str) or not item:
            raise _wrong(f"{name}[{index}]", item, "a text")
        found.append(check(f"{name}[{index}]", str(item)))
    return tuple(dict.fromkeys(found))


def _authority(name: str, text: str) -> str:
    found = authority.split(text)
    if found is None or found.scheme != "https":
        raise _wrong(name, text, "an https URL such as https://sharedweu.weu.attest.azure.net")
    return authority.without_slash(text)


def _guid(name: str, text: str) -> str:
    if not re.fullmatch(_GUID, text):
        raise _wrong(name, text, "a VM id such as 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f")
    return text


def _digits(count: int, tee: str) -> t.Callable[[str, str], str]:
    def check(name: str, text: str) -> str:
        if not count:
            raise _wrong(name, text, f"nothing, because tokens of tee_type {tee} have no such claim")
        if len(text) != count or not re.fullmatch(_HEX, text):
            raise _wrong(name, text, f"{count} hex digits")
        return text.lower()

    return check


def _svns(name: str, value: t.Any, tee: str) -> t.Dict[str, int]:
    known = words.SVNS.get(tee, {})
    found = _mapping(name, value)
    for member, number in found.items():
        if member not in known:
            wanted = f"one of {', '.join(known)}" if known else f"nothing, because tokens of tee_type {tee} have none"
            raise _wrong(f"{name}.{member}", number, wanted)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise _wrong(f"{name}.{member}", number, "a whole number from 0")
    return found


def _booleans(name: str, value: t.Any) -> t.Dict[str, bool]:
    found = _mapping(name, value)
    for member, flag in found.items():
        if member not in words.LOG_BOOLEANS:
            raise _wrong(f"{name}.{member}", flag, f"one of {', '.join(words.LOG_BOOLEANS)}")
        _flag(f"{name}.{member}", flag)
    return found


def _values(name: str, value: t.Any) -> t.Dict[str, t.Any]:
    found = _mapping(name, value)
    for member, item in found.items():
        if not isinstance(item, (str, int, float)):
            raise _wrong(f"{name}.{member}", item, "a text, a number or a boolean")
    return found
