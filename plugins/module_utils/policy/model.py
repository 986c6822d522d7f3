# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release policy as a typed model, and its parser.

Grammar (Key Vault release policy grammar, Microsoft documentation)::

    policy    = {"version": "1.0.0", "anyOf": [rule, ...]}
    rule      = {"authority": URL, ("allOf" | "anyOf"): [condition, ...]}
    condition = {"claim": PATH, OPERATOR: VALUE} | {("allOf" | "anyOf"): [condition, ...]}
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing as t
from urllib.parse import urlsplit

from .failure import SkrFailure

OPERATORS = ("equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals", "exists")
GROUPS = ("allOf", "anyOf")
VERSIONS = ("1.0.0", "1.0", "0.2")

Value = t.Union[str, int, float, bool]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A comparison of one claim, named by its dotted path in the token."""

    path: str
    operator: str
    value: Value


@dataclasses.dataclass(frozen=True)
class Group:
    """``allOf`` or ``anyOf`` over conditions."""

    kind: str
    members: t.Tuple[t.Union[Claim, Group], ...]


@dataclasses.dataclass(frozen=True)
class Rule:
    """The conditions under which tokens of one attestation authority are accepted."""

    authority: str
    conditions: Group


@dataclasses.dataclass(frozen=True)
class Policy:
    """A whole release policy: satisfied when any rule is."""

    version: str
    rules: t.Tuple[Rule, ...]


def parse(document: t.Any) -> Policy:
    """Make the model of a policy given as a dictionary or as JSON text.

    Raises SkrFailure ``policy_invalid`` whose message and fact ``position`` (such as ``anyOf[0].allOf[2].claim``)
    say where the grammar is broken.
    """
    if isinstance(document, (str, bytes)):
        try:
            document = json.loads(document)
        except ValueError as error:
            raise _invalid("", f"not JSON: {error}") from error
    policy = _object(document, "")
    _members(policy, "", ("version", "anyOf"))
    version = policy.get("version")
    if version not in VERSIONS:
        raise _invalid("version", f"found {version!r}, wanted '1.0.0'")
    rules = _array(policy.get("anyOf"), "anyOf")
    return Policy(str(version), tuple(_rule(rule, f"anyOf[{index}]") for index, rule in enumerate(rules)))


def _rule(document: t.Any, position: str) -> Rule:
    rule = _object(document, position)
    _members(rule, position, ("authority", *GROUPS))
    authority = rule.get("authority")
    try:
        parts = urlsplit(authority) if isinstance(authority, str) else None
    except ValueError:  # such as an unclosed bracket
        parts = None
    if parts is None or parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise _invalid(f"{position}.authority", f"found {authority!r}, wanted an https URL")
    return Rule(str(authority), _group(rule, position))


def _group(document: t.Mapping[str, t.Any], position: str) -> Group:
    kinds = [kind for kind in GROUPS if kind in document]
    if len(kinds) != 1:
        raise _invalid(position, "wanted exactly one of allOf and anyOf, found " + (" and ".join(kinds) or "none"))
    place = f"{position}.{kinds[0]}"
    members = _array(document[kinds[0]], place)
    return Group(kinds[0], tuple(_condition(member, f"{place}[{index}]") for index, member in enumerate(members)))


def _condition(document: t.Any, position: str) -> t.Union[Claim, Group]:
    condition = _object(document, position)
    if "claim" not in condition:
        _members(condition, position, GROUPS)
        return _group(condition, position)
    _members(condition, position, ("claim", *OPERATORS))
    path = condition["claim"]
    if not isinstance(path, str) or not path or any(not part for part in path.split(".")):
        raise _invalid(f"{position}.claim", f"found {path!r}, wanted a dotted path")
    operators = [name for name in condition if name != "claim"]
    if len(operators) != 1:
        raise _invalid(position, f"wanted exactly one operator, found {', '.join(operators) or 'none'}")
    value = condition[operators[0]]
    if not isinstance(value, (str, int, float)):
        raise _invalid(f"{position}.{operators[0]}", f"found a {_kind(value)}, wanted text, a number or a boolean")
    if isinstance(value, float) and not math.isfinite(value):  # Python's parser takes NaN, JSON has none
        raise _invalid(f"{position}.{operators[0]}", f"found {value}, wanted a finite number")
    return Claim(path, operators[0], value)


def _object(value: t.Any, position: str) -> t.Mapping[str, t.Any]:
    if not isinstance(value, dict):
        raise _invalid(position, f"found a {_kind(value)}, wanted an object")
    return value


def _array(value: t.Any, position: str) -> t.List[t.Any]:
    if not isinstance(value, list) or not value:
        raise _invalid(position, f"found a {_kind(value)}, wanted a list with at least one element")
    return value


def _members(document: t.Mapping[str, t.Any], position: str, known: t.Tuple[str, ...]) -> None:
    for name in document:
        if name not in known:
            place = f"{position}.{name}" if position else str(name)
            raise _invalid(place, f"unknown member, wanted one of {', '.join(known)}")


def _kind(value: t.Any) -> str:
    if value is None:
        return "missing value"
    if isinstance(value, list):
        return "list" if value else "list without elements"
    return {"dict": "object", "str": "text", "bool": "boolean"}.get(type(value).__name__, "number")


def _invalid(position: str, what: str) -> SkrFailure:
    place = position or "the top level"
    return SkrFailure("policy_invalid", f"release_policy is not valid at {place}: {what}.", {"position": position})
