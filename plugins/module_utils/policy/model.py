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

import json
import math
import typing as t

from . import authority
from .failure import SkrFailure

OPERATORS = ("equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals", "exists")
GROUPS = ("allOf", "anyOf")
VERSIONS = ("1.0.0", "1.0", "0.2")
MAX_DEPTH = 16  # groups within groups; nobody writes more, and Python's stack is finite

Value = t.Union[str, int, float, bool]


class Claim(t.NamedTuple):
    """A comparison of one claim, named by its dotted path in the token."""

    path: str
    operator: str
    value: Value


class Group(t.NamedTuple):
    """``allOf`` or ``anyOf`` over conditions."""

    kind: str
    members: t.Tuple[t.Union[Claim, Group], ...]


class Rule(t.NamedTuple):
    """The conditions under which tokens of one attestation authority are accepted."""

    authority: str
    conditions: Group


class Policy(t.NamedTuple):
    """A whole release policy: satisfied when any rule is."""

    version: str
    rules: t.Tuple[Rule, ...]


def parse(document: t.Any) -> Policy:
    """Make the model of a policy given as a dictionary or as JSON text (bytes: UTF-8).

    Raises SkrFailure ``policy_invalid``, and nothing else whatever the input, whose message and fact ``position``
    (such as ``anyOf[0].allOf[2].claim``; for text that is no JSON, line and column) say where the grammar is broken.
    """
    if isinstance(document, (str, bytes)):
        document = _json(document)
    policy = _object(document, "")
    _members(policy, "", ("version", "anyOf"))
    version = policy.get("version")
    if version not in VERSIONS:
        raise _invalid("version", f"found {version!r}, wanted '1.0.0'")
    rules = _array(policy.get("anyOf"), "anyOf")
    return Policy(str(version), tuple(_rule(rule, f"anyOf[{index}]") for index, rule in enumerate(rules)))


def _json(text: t.Union[str, bytes]) -> t.Any:
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise _invalid(f"byte {error.start}", "not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _invalid(f"line {error.lineno}, column {error.colno}", f"not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of brackets
        raise _invalid("", "not JSON that can be read: numbers too long or nested too deeply") from error


def _unique(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    """Two members of one name: which of them counts is left open by JSON (RFC 8259 section 4)."""
    found: t.Dict[str, t.Any] = {}
    for name, value in pairs:
        if name in found:
            raise _invalid(name, "the member stands twice in one object")
        found[name] = value
    return found


def _rule(document: t.Any, position: str) -> Rule:
    rule = _object(document, position)
    _members(rule, position, ("authority", *GROUPS))
    url = rule.get("authority")
    parts = authority.split(url) if isinstance(url, str) else None
    if parts is None or parts.scheme != "https":
        raise _invalid(f"{position}.authority", f"found {_shown(url)}, wanted an https URL")
    return Rule(str(url), _group(rule, position))


def _group(document: t.Mapping[str, t.Any], position: str, depth: int = 1) -> Group:
    if depth > MAX_DEPTH:
        raise _invalid(position, f"found groups nested more than {MAX_DEPTH} deep")
    kinds = [kind for kind in GROUPS if kind in document]
    if len(kinds) != 1:
        raise _invalid(position, "wanted exactly one of allOf and anyOf, found " + (" and ".join(kinds) or "none"))
    place = f"{position}.{kinds[0]}"
    members = _array(document[kinds[0]], place)
    return Group(
        kinds[0], tuple(_condition(member, f"{place}[{index}]", depth) for index, member in enumerate(members))
    )


def _condition(document: t.Any, position: str, depth: int) -> t.Union[Claim, Group]:
    condition = _object(document, position)
    if "claim" not in condition:
        _members(condition, position, GROUPS)
        return _group(condition, position, depth + 1)
    _members(condition, position, ("claim", *OPERATORS))
    path = condition["claim"]
    if not isinstance(path, str) or not path or any(not part for part in path.split(".")):
        raise _invalid(f"{position}.claim", f"found {path!r}, wanted a dotted path")
    operators = [name for name in condition if name != "claim"]
    if len(operators) != 1:
        raise _invalid(position, f"wanted exactly one operator, found {', '.join(operators) or 'none'}")
    value = condition[operators[0]]
    if not isinstance(value, (str, int, float)):
        raise _invalid(
            f"{position}.{operators[0]}",
            f"found a {_kind(value)} ({_shown(value)}), wanted text, a number or a boolean",
        )
    if isinstance(value, float) and not math.isfinite(value):  # Python's parser takes NaN, JSON has none
        raise _invalid(f"{position}.{operators[0]}", f"found {value}, wanted a finite number")
    return Claim(path, operators[0], value)


def _object(value: t.Any, position: str) -> t.Mapping[str, t.Any]:
    if not isinstance(value, dict):
        raise _invalid(position, f"found a {_kind(value)}{_brackets(value)}, wanted an object")
    return value


def _array(value: t.Any, position: str) -> t.List[t.Any]:
    if not isinstance(value, list) or not value:
        raise _invalid(position, f"found a {_kind(value)}{_brackets(value)}, wanted a list with at least one element")
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
    kinds: t.Tuple[t.Tuple[type, str], ...] = ((bool, "boolean"), (dict, "object"), (str, "text"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "number")


def _shown(value: t.Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _brackets(value: t.Any) -> str:
    return "" if value is None or value == [] else f" ({_shown(value)})"


def _invalid(position: str, what: str) -> SkrFailure:
    place = position or "the top level"
    return SkrFailure("policy_invalid", f"release_policy is not valid at {place}: {what}.", {"position": position})
