# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a policy before anybody relies on it: findings with code, severity, place and advice.

Severities: ``error`` (the policy lets in whom it should not, or can never be met), ``warning`` (probably a mistake, or
it works by luck), ``info`` (worth knowing).
"""

from __future__ import annotations

import json
import typing as t

from . import canonical, regions
from . import vocabulary as words
from .authority import host, without_slash
from .compare import text_form
from .model import Claim, Group, Policy, Rule

SEVERITIES = ("error", "warning", "info")
MAX_BYTES = 8192  # the service's limit is not documented; larger policies have not been seen

# Every code with what it means in general; the finding's message says what was found. Sorted into the documentation.
CODES: t.Dict[str, str] = {
    "authority_trailing_slash": "The authority ends in a slash; tokens' issuers have none. It is removed on upload.",
    "authority_unknown_region": "The authority's host is none of the known attestation providers' form or regions.",
    "boolean_as_text": "The claim is a boolean, the policy compares it with text.",
    "claim_at_wrong_level": "A claim of this name exists, but at another place of the token.",
    "claim_unknown": "No guest token holds this claim, unless a private provider's policy issues it.",
    "client_payload_proves_nothing": "The VM itself chooses its client payload, so requiring a value proves nothing.",
    "contradiction": "Two conditions of one branch exclude each other: nobody can meet it.",
    "debug_not_excluded": "A VM whose memory the host may read by debugging is not excluded.",
    "duplicate_branch": "The same branch stands twice; one is uploaded.",
    "duplicate_condition": "The same condition stands twice in a group; one is uploaded.",
    "immutable_without_confirmation": "An immutable policy can never be changed again and needs a second confirmation.",
    "nesting_not_portable": "Groups within groups are accepted by the grammar page, but not by the concept page.",
    "operator_not_field_confirmed": "Only equals is documented everywhere; other operators are not confirmed in the field.",
    "pcr_is_not_a_claim": "PCR values are no claims of the guest token, so no policy can require one.",
    "policy_too_large": "The policy is larger than any that is known to be accepted.",
    "satisfied_by_any_tenant": "Any customer's VM of that kind meets the policy; only the release permission holds it off.",
    "satisfied_without_tee": "A VM without hardware TEE meets the policy.",
    "value_type": "The claim has another type than the value it is compared with.",
    "vm_id_case": "VM ids are upper case in SNP tokens, in TDX tokens lower case or either; text compares exactly.",
}


class Finding(t.NamedTuple):
    """``path`` is the place in the policy, such as ``anyOf[0].allOf[2]``; empty for the whole policy."""

    code: str
    severity: str
    path: str
    message: str

    def as_dict(self) -> t.Dict[str, str]:
        return self._asdict()


def lint(policy: Policy, immutable: bool = False, confirmed: bool = False) -> t.List[Finding]:
    """All findings, errors first, then in the policy's order."""
    found: t.List[Finding] = []
    if immutable and not confirmed:
        found.append(
            Finding(
                "immutable_without_confirmation",
                "error",
                "",
                "The policy would become immutable, for ever, and is not confirmed: set confirm_immutable as well.",
            )
        )
    size = len(canonical.dump(policy))
    if size > MAX_BYTES:
        found.append(
            Finding("policy_too_large", "warning", "", f"The policy has {size} bytes, wanted at most {MAX_BYTES}.")
        )
    seen: t.Dict[str, str] = {}
    others = _lower_ids(policy)
    for index, rule in enumerate(policy.rules):
        place = f"anyOf[{index}]"
        meaning = canonical.digest(Policy(policy.version, (rule,)))
        if meaning in seen:
            message = f"This branch is the same as {seen[meaning]}; one of them is uploaded."
            found.append(Finding("duplicate_branch", "warning", place, message))
            continue
        seen[meaning] = place
        found += _rule(rule, place, others)
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _rule(rule: Rule, place: str, others: t.Container[str]) -> t.Iterator[Finding]:
    yield from _authority(rule.authority, f"{place}.authority")
    tee = tee_of(rule)
    yield from _group(rule.conditions, f"{place}.{rule.conditions.kind}", 0, tee, _private(rule.authority))
    yield from _vm_ids(rule.conditions, f"{place}.{rule.conditions.kind}", tee, others)
    yield from _breadth(rule, place, tee)
    yield from _contradictions(rule.conditions, place)


def _authority(url: str, place: str) -> t.Iterator[Finding]:
    if url.endswith("/"):
        yield Finding(
            "authority_trailing_slash", "info", place, f"Found {url}, wanted {without_slash(url)}; it is written so."
        )
    problem = regions.read(host(url)).problem
    if problem:
        yield Finding(
            "authority_unknown_region",
            "warning",
            place,
            f"{problem[0].upper()}{problem[1:]}. Ask for the region's authority with attestation_provider_info.",
        )


def _private(url: str) -> bool:
    return not regions.read(host(url)).shared


def _group(group: Group, place: str, depth: int, tee: t.Optional[str], private: bool) -> t.Iterator[Finding]:
    if depth:
        message = "This group stands within another one; write a branch for each alternative instead."
        yield Finding("nesting_not_portable", "warning", place.rpartition(".")[0], message)
    seen: t.Dict[str, str] = {}
    for index, member in enumerate(group.members):
        here = f"{place}[{index}]"
        if isinstance(member, Group):
            yield from _group(member, f"{here}.{member.kind}", depth + 1, tee, private)
            continue
        key = json.dumps([member.path, member.operator, text_form(member.value), isinstance(member.value, str)])
        if key in seen:
            yield Finding("duplicate_condition", "warning", here, f"This condition is the same as {seen[key]}.")
            continue
        seen[key] = here
        yield from _claim(member, here, tee, private)


def _claim(condition: Claim, place: str, tee: t.Optional[str], private: bool) -> t.Iterator[Finding]:
    path = condition.path
    if condition.operator != "equals":
        message = f"The operator {condition.operator} is in the grammar, but only equals is confirmed in the field."
        yield Finding("operator_not_field_confirmed", "info", place, message)
    known = words.find(path)
    if known is None:
        yield _unknown(path, place, private)
        return
    if path.startswith(f"{words.CLIENT_PAYLOAD}."):
        message = f"{path} is chosen by the VM itself; requiring it proves nothing about the VM."
        yield Finding("client_payload_proves_nothing", "warning", place, message)
    if condition.operator == "exists":
        return
    yield from _type(condition, known, place)


def _vm_ids(group: Group, place: str, tee: t.Optional[str], others: t.Container[str]) -> t.Iterator[Finding]:
    """Ids in the wrong case. TDX tokens are documented with lower case, and have been seen with upper case: that is
    right in addition to the other, but not alone; ``others`` are the lower-case ids of all TDX branches.
    """
    for index, member in enumerate(group.members):
        here = f"{place}[{index}]"
        if isinstance(member, Group):
            yield from _vm_ids(member, f"{here}.{member.kind}", tee, others)
            continue
        value = member.value
        if member.path != words.VM_UNIQUE_ID or not isinstance(value, str) or tee not in (words.SNP, words.TDX):
            continue
        right = value.upper() if tee == words.SNP else value.lower()
        if value == right or (value == value.upper() and right in others):
            continue
        message = f"Found {value!r}, wanted {right!r}: the tokens of {words.TEE_NAMES[tee]}s have it so."
        yield Finding("vm_id_case", "warning", f"{here}.{member.operator}", message)


def _lower_ids(policy: Policy) -> t.Set[str]:
    """The VM ids that TDX branches have in lower case."""
    found: t.Set[str] = set()
    for rule in policy.rules:
        groups = [rule.conditions] if tee_of(rule) == words.TDX else []
        while groups:
            for member in groups.pop().members:
                if isinstance(member, Group):
                    groups.append(member)
                elif member.path == words.VM_UNIQUE_ID and isinstance(member.value, str):
                    found.update({member.value} - {member.value.upper()})
    return found


def _type(condition: Claim, known: words.Claim, place: str) -> t.Iterator[Finding]:
    value, place = condition.value, f"{place}.{condition.operator}"
    kind = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    if known.kind == "boolean" and isinstance(value, str) and value in ("true", "false"):
        message = f"{condition.path} is a boolean; found the text {value!r}, wanted {value} without quotation marks."
        yield Finding("boolean_as_text", "warning", place, message)
    elif known.kind != kind:
        able = known.kind not in ("object", "list")
        wanted = f"wanted a {known.kind}" if able else "which no policy can compare with anything"
        message = f"{condition.path} is a {known.kind}; found the {kind} {text_form(value)!r}, {wanted}."
        yield Finding("value_type", "error", place, message)
    elif known.digits and isinstance(value, str) and condition.operator == "equals":
        if len(value) != known.digits or value.strip("0123456789abcdef"):
            message = f"{condition.path} is {known.digits} hex digits in lower case; found {value!r}."
            yield Finding("value_type", "error", place, message)


def _unknown(path: str, place: str, private: bool) -> Finding:
    place = f"{place}.claim"
    if words.names_pcr(path):
        return Finding(
            "pcr_is_not_a_claim",
            "error",
            place,
            f"{path} speaks of a PCR, but guest tokens hold no PCR values. Ways out: the booleans that the service derives "
            "from the boot log (secureboot and its like), an own attestation provider whose policy issues such a claim, "
            "or a check against the PCRs within the guest.",
        )
    elsewhere = words.elsewhere(path)
    if elsewhere:
        return Finding(
            "claim_at_wrong_level",
            "error",
            place,
            f"Guest tokens hold {path} at another place: {', '.join(elsewhere)}.",
        )
    ending = "if its provider's policy issues it, all is well" if private else "a shared provider never issues it"
    return Finding("claim_unknown", "info" if private else "warning", place, f"{path} is not a known claim; {ending}.")


def _breadth(rule: Rule, place: str, tee: t.Optional[str]) -> t.Iterator[Finding]:
    """Who else meets this branch."""
    private = _private(rule.authority)

    def binds(condition: Claim) -> bool:
        custom = private and words.find(condition.path) is None and not words.names_pcr(condition.path)
        zero = isinstance(condition.value, str) and not condition.value.strip("0")
        return condition.operator == "equals" and (custom or (condition.path in words.BINDING and not zero))

    kind = words.TEE_NAMES.get(tee or "", "VM" if tee is None else "confidential VM")
    if not requires(rule.conditions, binds):
        message = (
            f"Any {kind} of any Azure customer that is attested by {rule.authority} meets this branch. Bind it to VM ids "
            "(vm_unique_ids) or host data, or accept the finding by name with a justification."
        )
        yield Finding("satisfied_by_any_tenant", "error", place, message)
    if tee is None:
        message = (
            "No condition requires a hardware TEE, so a VM without one meets this branch; Trusted Launch is weaker."
        )
        yield Finding("satisfied_without_tee", "warning", place, message)
        return
    if requires(rule.conditions, _no_debug):
        return
    # A branch for TEEs of either kind cannot require the debug claim of one of them.
    advice = (
        f"require {words.DEBUG[tee]} to be false" if tee else "write a branch for each TEE and require its debug claim"
    )
    if requires(rule.conditions, lambda one: _is(one, words.COMPLIANCE, words.COMPLIANT)):
        message = f"Debugging is excluded by {words.COMPLIANCE} alone; {advice} as well."
        yield Finding("debug_not_excluded", "warning", place, message)
    else:
        message = f"A debuggable VM meets this branch; {advice}."
        yield Finding("debug_not_excluded", "error", place, message)


def _no_debug(one: Claim) -> bool:
    paths = (*words.DEBUG.values(), f"{words.ISOLATION}.tdx_is_debuggable")
    return any(_is(one, path, False) for path in paths) or _is(one, f"{words.ISOLATION}.dbgstat", "disabled")


def _is(condition: Claim, path: str, value: t.Any) -> bool:
    return condition.path == path and condition.operator == "equals" and text_form(condition.value) == text_form(value)


def requires(group: Group, test: t.Callable[[Claim], bool]) -> bool:
    """Whether the group can only be met when a condition of the tested kind is."""
    results = [requires(one, test) if isinstance(one, Group) else test(one) for one in group.members]
    return any(results) if group.kind == "allOf" else all(results)


def tee_of(rule: Rule) -> t.Optional[str]:
    """The hardware TEE that a rule requires, by its type or by claims that only that TEE's tokens hold; or None."""
    for tee in (words.SNP, words.TDX):
        if requires(rule.conditions, lambda one, tee=tee: _is(one, words.TYPE, tee)):  # type: ignore[misc]
            return tee
    for tee in (words.SNP, words.TDX):
        only = {path for path, claim in words.CLAIMS.items() if claim.tees == (tee,)}
        if requires(rule.conditions, lambda one, only=only: one.path in only and one.operator == "equals"):  # type: ignore[misc]
            return tee
    if requires(rule.conditions, lambda one: one.path.startswith(f"{words.ISOLATION}.") and one.operator == "equals"):
        return ""  # some TEE, of either kind
    return None


def _contradictions(group: Group, place: str) -> t.Iterator[Finding]:
    if group.kind != "allOf":
        return
    wanted: t.Dict[str, str] = {}
    for member in group.members:
        if isinstance(member, Group):
            continue
        value = text_form(member.value)
        if member.operator == "equals" and wanted.setdefault(member.path, value) != value:
            message = f"{member.path} cannot equal both {wanted[member.path]!r} and {value!r}."
            yield Finding("contradiction", "error", place, message)
