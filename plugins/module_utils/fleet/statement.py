# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statement of a revocation in plain words: for whoever runs the incident, and as a document and Markdown to keep."""

from __future__ import annotations

import typing as t

from . import revocation
from .revocation import Facts, Verdict

_LOST = (
    "A key that was released before. Whoever read it while it was on a suspect has it, and no change at the vault takes it back.",
    "A process that has the key in memory, on a suspect or where it was sent to.",
    "A LUKS volume that is open: it stays open until it is closed or the VM stops.",
    "Memory images, hibernation files, snapshots, backups and logs of consumers that hold the key.",
    "What was signed or decrypted with it already.",
)
_TOKENS = (
    "Attestation tokens that a suspect holds are valid for up to 8 hours. They do not help: the vault looks at permission, version and "
    "policy when it is asked, not when the VM was attested."
)


def statement(facts: Facts) -> t.Dict[str, t.Any]:
    """The whole result: ``document`` (JSON types), ``lines`` (plain text), ``markdown``, ``failures`` (host -> message).

    ``facts``: action, key_name, where (address of the vault or HSM), key_version, check_mode, times {started, stopped,
    finished}, wait_chunk, principals, control (result of the action), state (who holds what afterwards), key_after (the
    key afterwards), hosts: [{host, vm, reach, probe, copy, units, stopped, reloaded, kept}]. Raises SkrFailure ``invalid_input``.
    """
    verdicts = revocation.judge(facts)
    document = {
        "schema": revocation.SCHEMA,
        "action": facts["action"],
        "key": {"name": facts["key_name"], "where": facts["where"], "version": facts.get("key_version") or None},
        "check_mode": bool(facts.get("check_mode")),
        "changed": bool((facts.get("control") or {}).get("changed")),
        "times": dict(facts["times"]),
        "stopped": _stopped(facts),
        "hosts": [one.as_dict() for one in verdicts],
        "unreachable": [one.host for one in verdicts if one.verdict == "unreachable"],
        "remaining": _remaining(facts),
        "elsewhere": _elsewhere(facts),
        "cannot_be_recalled": list(_LOST),
        "next_steps": _next(facts, verdicts),
        "proved": all(one.verdict == "proved" for one in verdicts),
    }
    sections = _sections(facts, document, verdicts)
    return {
        "document": document,
        "lines": _plain(sections),
        "markdown": _markdown(sections),
        "failures": {one.host: _failure(one) for one in verdicts if one.failed},
    }


def _failure(one: Verdict) -> str:
    texts = [] if one.verdict in ("proved", "planned") else [f"{one.verdict}: {one.message} [{one.reason}]"]
    if one.clean_up.get("failed"):
        texts.append(f"{'; '.join(one.clean_up['failed'])} [clean_up_failed]")
    return " ".join(texts)


# --- what was done


def _stopped(facts: Facts) -> t.List[str]:
    control, action, planned = facts.get("control") or {}, facts["action"], bool(facts.get("check_mode"))
    if not control.get("changed"):
        return [f"Nothing had to be changed: {_already(facts)}"]
    would = "Would be done: " if planned else ""
    if action == "ungrant":
        return [
            f"{would}taken from {revocation.holder(one['principal_id'], control)}: '{one['role']}' at {one['scope']}"
            for one in control["taken"]
        ]
    if action == "disable":
        return [f"{would}disabled: version {one}" for one in control.get("stopped_versions") or []]
    removed = control.get("removed") or []
    named = f"the VM ids {', '.join(removed)} were taken out" if removed else "the narrower policy that was given"
    return [f"{would}release policy written: {named}"]


def _already(facts: Facts) -> str:
    return {
        "ungrant": "no identity of the suspects had a permission that can be taken away here.",
        "disable": "what was to be disabled was disabled already.",
        "narrow": "the release policy was so narrow already.",
    }[str(facts["action"])]


def _remaining(facts: Facts) -> t.List[t.Dict[str, t.Any]]:
    """What still lets a suspect release this key; in check mode what would be left."""
    if facts["action"] != "ungrant":
        return []
    known = facts.get("control" if facts.get("check_mode") else "state") or {}
    return [dict(one) for one in known.get("remaining") or []]


def _whom(facts: Facts) -> str:
    if facts["action"] == "ungrant":
        return "Others keep the permission, except for machines that share an identity with a suspect."
    if facts["action"] == "disable":
        return "EVERYBODY is refused, also VMs that are no suspects, until there is an enabled version again."
    return "VMs that the policy still admits go on releasing the key."


def _elsewhere(facts: Facts) -> t.Optional[t.List[t.Dict[str, t.Any]]]:
    """Other keys within the suspects' reach, the widest grants first; None where that is not known."""
    found = (facts.get("state") or {}).get("elsewhere")
    if found is None:
        return None
    return sorted((dict(one) for one in found), key=lambda one: (str(one["scope"]).count("/"), str(one["scope"])))


# --- what is to be done


def _next(facts: Facts, verdicts: t.Sequence[Verdict]) -> t.List[str]:
    if facts.get("check_mode"):
        return ["Run it without check mode."]

    def named(*kinds: str) -> str:
        return ", ".join(one.host for one in verdicts if one.verdict in kinds)

    steps = []
    if named("not_effective"):
        steps.append(
            f"AT ONCE: {named('not_effective')} can still get the key. Run this play with skr_revoke_action=disable."
        )
    if named("unreachable"):
        steps.append(
            f"Reach {named('unreachable')}, or deallocate them in Azure; then run this play for them (--limit)."
        )
    if named("not_proved"):
        steps.append(f"Find out why {named('not_proved')} gave no proof, and run this play for them again.")
    failed = [one.host for one in verdicts if one.clean_up.get("failed")]
    if failed:
        steps.append(f"Remove by hand what could not be removed on {', '.join(failed)}.")
    if _remaining(facts):
        steps.append("Take away the grants that are listed as remaining; they reach further than this key.")
    elsewhere = _elsewhere(facts)
    if elsewhere is None:
        steps.append("Find out which other keys the suspects' identities may release; that could not be read.")
    elif elsewhere:
        steps.append("Run this play for the other keys that the suspects may release, in the order listed.")
    steps.append("Rotate the key: take the released one as known to others, and make a new version (playbook rotate).")
    steps.append(
        "Replace what it protected: revoke and issue certificates anew, encrypt data anew, exchange LUKS passphrases and secrets."
    )
    steps.append(
        "Take the suspects out of the inventory group, and out of skr_release_policy or skr_policy_parameters, before provision or site "
        "runs again; else that gives them back what was taken."
    )
    return steps


# --- the words

_Section = t.Tuple[str, t.List[str]]


def _sections(facts: Facts, document: Facts, verdicts: t.Sequence[Verdict]) -> t.List[_Section]:
    state = facts.get("state") or {}
    times, version = document["times"], document["key"]["version"]
    of_version = f", version {version}" if version else ""
    head = [
        f"Key {facts['key_name']} at {facts['where']}{of_version}; action: {facts['action']}.",
        f"At the vault {'would be ' if document['check_mode'] else ''}done by {times['stopped']}; statement of {times['finished']} (UTC).",
    ]
    sections = [("Revocation", head), ("What was stopped", [*document["stopped"], _whom(facts), _TOKENS])]
    sections.append(("Proof, host by host", [_row(one) for one in verdicts]))
    missing = [one for one in verdicts if one.verdict == "unreachable"]
    sections.append(("Hosts not reached", [f"{one.host}: {one.by_state.text}" for one in missing] or ["None."]))
    if document["remaining"]:
        held = [revocation.granted(one, state) for one in document["remaining"]]
        sections.append(("Grants that remain", held))
    other = document["elsewhere"]
    if other is None:
        sections.append(("Other keys within the suspects' reach", ["Not known: it could not be read."]))
    elif other:
        sections.append(("Other keys within the suspects' reach", [revocation.granted(one, state) for one in other]))
    sections.append(("What cannot be recalled", list(document["cannot_be_recalled"])))
    sections.append(("Next steps", [f"{number}. {step}" for number, step in enumerate(document["next_steps"], 1)]))
    return sections


def _row(one: Verdict) -> str:
    done = f"Copy: {one.clean_up['copy']}. Unit: {one.clean_up['unit']}."
    failed = f" {'; '.join(one.clean_up['failed'])}." if one.clean_up["failed"] else ""
    return f"{one.host}: {one.verdict.upper()}. {one.message} {done}{failed}"


def _plain(sections: t.Sequence[_Section]) -> t.List[str]:
    lines = []
    for title, texts in sections:
        lines.append(f"{title}:")
        lines += [f"  {' '.join(text.split())}" for text in texts]
    return lines


def _markdown(sections: t.Sequence[_Section]) -> str:
    lines: t.List[str] = []
    for number, (title, texts) in enumerate(sections):
        ordered = title == "Next steps"
        lines += [f"{'#' if number == 0 else '##'} {title}", ""]
        lines += [(_safe(text) if ordered else f"- {_safe(text)}") for text in texts]
        lines.append("")
    return "\n".join(lines)


def _safe(text: str) -> str:
    """Text of hosts and services as text: no markup, no second line."""
    text = " ".join(text.split())
    for mark in ("\\", "`", "*", "<", ">", "[", "]", "|"):
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return text
