# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release policy in plain words: who can get the key, by which authority, and who else that is."""

from __future__ import annotations

import typing as t

from . import canonical, lint, model, regions
from . import vocabulary as words
from .compare import text_form
from .model import Claim, Group, Policy, Rule

_COMPARISONS = {
    "equals": "is",
    "notEquals": "is not",
    "less": "is less than",
    "lessOrEquals": "is at most",
    "greater": "is greater than",
    "greaterOrEquals": "is at least",
}


def explain(policy: Policy) -> str:
    """Lines of text without a final line end; the same for a policy and for what a vault gives back of it."""
    policy = model.parse(canonical.as_dict(policy))
    count = len(policy.rules)
    who = "a VM that meets this branch" if count == 1 else f"a VM that meets any one of these {count} branches"
    lines = [f"The key is released to {who}:"]
    for number, rule in enumerate(policy.rules, 1):
        authority = rule.authority.lower()
        lines += ["", f"Branch {number}: attested by {authority} ({regions.words(authority)}), where"]
        lines += _group(rule.conditions, "  ")
        lines += [f"  Who qualifies: {_qualifies(rule)}"]
    return "\n".join(lines)


def _group(group: Group, indent: str) -> t.List[str]:
    lines = []
    kind = group.kind
    if kind == "anyOf" and len(group.members) > 1:
        lines.append(f"{indent}at least one of these holds:")
        indent += "  "
    for member in sorted(group.members, key=_rank):
        if isinstance(member, Claim):
            lines.append(f"{indent}- {condition(member)}")
        elif member.kind == "allOf":
            lines += [f"{indent}- all of these hold:", *_group(member, f"{indent}  ")]
        else:
            lines += _group(member, indent)
    return list(dict.fromkeys(lines))


def _rank(member: t.Union[Claim, Group]) -> t.Tuple[int, str]:
    """The TEE first, then compliance and debugging, groups last: one order whatever the policy's."""
    if isinstance(member, Group):
        return (9, str(member))
    first = [words.TYPE, words.OUTER_TYPE, words.COMPLIANCE, *words.DEBUG.values(), words.SECURE_BOOT]
    return (first.index(member.path) if member.path in first else 8, f"{member.path} {text_form(member.value)}")


def condition(claim: Claim) -> str:
    """One condition as a phrase; a claim's path is shown where the phrase is not one of the usual ones."""
    value = text_form(claim.value)
    if claim.operator == "equals":
        usual = _usual(claim.path, value)
        if usual:
            return usual
    known = words.find(claim.path)
    name = f"{known.words} ({claim.path})" if known else f"the claim {claim.path}"
    if claim.operator == "exists":
        return f"{name} is present" if value == "true" else f"{name} is absent"
    if known and known.kind == "boolean" and value in ("true", "false") and claim.operator == "equals":
        return f"{name} is {'on' if value == 'true' else 'off'}"
    return f"{name} {_COMPARISONS[claim.operator]} {value}"


def _usual(path: str, value: str) -> t.Optional[str]:
    if path == words.TYPE and value in words.TEE_NAMES:
        return f"it is an {words.TEE_NAMES[value]}"
    if path == words.OUTER_TYPE and value == words.OUTER_VALUE:
        return "it is an Azure VM with a vTPM (which alone says nothing about a hardware TEE)"
    if path == words.COMPLIANCE and value == words.COMPLIANT:
        return "Azure calls it a compliant confidential VM"
    if path in (*words.DEBUG.values(), f"{words.ISOLATION}.tdx_is_debuggable"):
        return "the host cannot debug it" if value == "false" else "the host CAN debug it and read its memory"
    if path == words.SECURE_BOOT:
        return f"it booted with secure boot {'on' if value == 'true' else 'off'}"
    if path in (words.VM_UNIQUE_ID, words.VM_ID):
        return f"its VM id is {value}"
    if path.startswith(f"{words.CLIENT_PAYLOAD}."):
        return f"the VM itself says {path[len(words.CLIENT_PAYLOAD) + 1 :]} is {value} (which proves nothing)"
    return None


def _qualifies(rule: Rule) -> str:
    tee = lint.tee_of(rule)
    codes = {finding.code for finding in lint.lint(Policy("1.0.0", (rule,)))}
    if "contradiction" in codes:
        return "nobody; two conditions exclude each other."
    if codes & {"claim_at_wrong_level", "pcr_is_not_a_claim", "value_type"} and rule.conditions.kind == "allOf":
        return "nobody with a guest token, because no guest token meets every condition (see policy_lint)."
    kind = words.TEE_NAMES.get(
        tee or "", "Azure VM (with or without a hardware TEE)" if tee is None else "confidential VM"
    )
    if "satisfied_by_any_tenant" in codes:
        return (
            f"any {kind} of any Azure customer, if it also has the release permission on the key; "
            "nothing in this branch tells your VMs from others."
        )
    return f"{'an' if kind[0] in 'AI' else 'a'} {kind} that is one of those named above."
