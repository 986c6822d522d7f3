# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault's own reading of release policies: grammar, how it stores them, and its decision.

Written from Microsoft's grammar page and recordings of the service, independently of any client.
"""

from __future__ import annotations

import base64
import json
import typing as t

from .errors import bad

_OPERATORS = {"equals", "notEquals", "less", "lessOrEquals", "greater", "greaterOrEquals", "exists"}


def stored_form(encoded: str, keep_booleans: bool = False) -> dict[str, t.Any]:
    """Decode, check and re-serialise a policy as the vault keeps it: booleans become text. Raises Refusal."""
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        document = json.loads(raw)
    except ValueError:
        raise bad("Key Release Policy: the data cannot be decoded.") from None
    if not isinstance(document, dict):
        raise bad("Key Release Policy: not an object.")
    if "version" not in document:
        raise bad("Key Release Policy: missing 'version' property.")
    if document["version"] not in ("1.0.0", "1.0", "0.2"):
        raise bad(f"Key Release Policy: unsupported version '{document['version']}'.")
    if set(document) != {"version", "anyOf"} or not _filled(document["anyOf"]):
        raise bad("Key Release Policy: 'anyOf' with at least one authority is required.")
    return {"version": document["version"], "anyOf": [_rule(rule, keep_booleans) for rule in document["anyOf"]]}


def _filled(value: t.Any) -> bool:
    return isinstance(value, list) and bool(value)


def _rule(rule: t.Any, keep: bool) -> dict[str, t.Any]:
    if (
        not isinstance(rule, dict)
        or not isinstance(rule.get("authority"), str)
        or not rule["authority"].startswith("https://")
    ):
        raise bad("Key Release Policy: each rule needs an 'authority' that is an https URL.")
    rest = {name: value for name, value in rule.items() if name != "authority"}
    return {"authority": rule["authority"], **_conditions(rest, keep)}


def _conditions(group: dict[str, t.Any], keep: bool) -> dict[str, t.Any]:
    if len(group) != 1 or next(iter(group)) not in ("allOf", "anyOf") or not _filled(next(iter(group.values()))):
        raise bad("Key Release Policy: exactly one of 'allOf' and 'anyOf' with at least one condition is required.")
    ((kind, members),) = group.items()
    return {kind: [_condition(member, keep) for member in members]}


def _condition(condition: t.Any, keep: bool) -> dict[str, t.Any]:
    if not isinstance(condition, dict):
        raise bad("Key Release Policy: a condition must be an object.")
    if "claim" not in condition:
        return _conditions(condition, keep)
    operators = [name for name in condition if name != "claim"]
    if len(operators) != 1 or operators[0] not in _OPERATORS or not isinstance(condition["claim"], str):
        raise bad("Key Release Policy: a condition has one claim and one operator.")
    value = condition[operators[0]]
    if not isinstance(value, (str, int, float)):
        raise bad("Key Release Policy: a value must be text, a number or a boolean.")
    # The vault is known to give booleans back as text.
    return {"claim": condition["claim"], operators[0]: _text(value) if isinstance(value, bool) and not keep else value}


def _text(value: t.Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def encoded(policy: dict[str, t.Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(policy, separators=(",", ":")).encode()).rstrip(b"=").decode()


def same_authority(one: str, other: str) -> bool:
    """Scheme and host in any case, one final slash or none; path and port exactly."""

    def parts(url: str) -> tuple[str, ...]:
        scheme, _colon, rest = url.removesuffix("/").partition("://")
        host, slash, path = rest.partition("/")
        return scheme.lower(), host.lower(), slash, path

    return parts(one) == parts(other)


def decide(policy: dict[str, t.Any], claims: dict[str, t.Any]) -> tuple[bool, str]:
    """Whether the claims satisfy the policy, and the clause that decided (for the audit log, not for the caller)."""
    issuer = str(claims.get("iss", ""))
    last = "no rule for this authority"
    for index, rule in enumerate(policy["anyOf"]):
        if not same_authority(rule["authority"], issuer):
            continue
        (kind,) = set(rule) - {"authority"}
        held, why = _holds({kind: rule[kind]}, claims)
        if held:
            return True, f"anyOf[{index}]"
        last = f"anyOf[{index}]: {why}"
    return False, last


def _holds(node: dict[str, t.Any], claims: dict[str, t.Any]) -> tuple[bool, str]:
    for kind in ("allOf", "anyOf"):
        if kind in node:
            results = [_holds(member, claims) for member in node[kind]]
            failed = "; ".join(why for held, why in results if not held)
            return (all if kind == "allOf" else any)(held for held, _why in results), failed
    (operator,) = set(node) - {"claim"}
    found: t.Any = claims
    for part in node["claim"].split("."):
        if not isinstance(found, dict) or part not in found:
            missing = operator == "exists" and _text(node[operator]) == "false"
            return missing, f"{node['claim']}: missing"
        found = found[part]
    held = _compare(operator, node[operator], found)
    return held, f"{node['claim']}: wanted {operator} {node[operator]!r}, found {found!r}"


def _compare(operator: str, wanted: t.Any, found: t.Any) -> bool:
    if operator == "exists":
        return _text(wanted) == "true"
    if isinstance(found, (dict, list)) or found is None:
        return operator == "notEquals"
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (wanted, found))
    if operator in ("equals", "notEquals"):
        if numbers:
            same = bool(wanted == found)
        elif isinstance(wanted, (str, bool)) and isinstance(found, (str, bool)):
            same = _text(wanted) == _text(found)
        else:
            same = False
        return same == (operator == "equals")
    if not numbers:
        return False
    return bool(
        {"less": found < wanted, "lessOrEquals": found <= wanted, "greater": found > wanted}.get(
            operator, found >= wanted
        )
    )
