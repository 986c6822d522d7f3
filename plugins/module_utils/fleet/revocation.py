# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a revocation proved, host by host: the probe on the suspect held against what the vault's state says.

A probe runs on the suspect, and a VM in somebody else's hands can answer what it likes. So a refusal alone proves nothing
where the vault's state contradicts it; and where a suspect does not answer, the vault's state is all there is.
"""

from __future__ import annotations

import typing as t

from ..policy import model
from ..policy.failure import SkrFailure
from ..policy.reasons import REASONS
from . import narrowing

SCHEMA = "azure-skr/revocation/1"
ACTIONS = ("ungrant", "disable", "narrow")
# The reason for which the vault must refuse after each action.
EXPECTED = {"ungrant": "permission_missing", "disable": "key_disabled", "narrow": "policy_not_met"}
VERDICTS = ("proved", "not_proved", "not_effective", "unreachable", "planned")
Facts = t.Mapping[str, t.Any]


_TOLD = ("identity", "verdict", "reason", "message")


def line(text: t.Any) -> str:
    """Text that a suspect may have chosen, as one line of printable characters, and not endless."""
    plain = "".join(char if char.isprintable() else " " for char in str(text)[:4000])
    return " ".join(plain.split())[:1500]


class State(t.NamedTuple):
    """What the vault's state says of one VM. ``holds``: it is kept away; None where the state cannot tell."""

    holds: t.Optional[bool]
    text: str


class Verdict(t.NamedTuple):
    """One host. ``reason`` is None when it is proved; ``clean_up`` has what became of its copy and unit."""

    host: str
    vm: str
    verdict: str
    reason: t.Optional[str]
    message: str
    expected: str
    found: t.Optional[str]
    waited_s: float
    by_state: State
    clean_up: t.Dict[str, t.Any]
    identities: t.Tuple[t.Dict[str, t.Any], ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the host ends the play as failed."""
        return self.verdict not in ("proved", "planned") or bool(self.clean_up.get("failed"))

    def as_dict(self) -> t.Dict[str, t.Any]:
        shown = {**self._asdict(), "by_state": self.by_state._asdict(), "identities": list(self.identities)}
        next_step = REASONS[self.reason].next_step if self.reason in REASONS else None
        return {**shown, "next_step": next_step}


def judge(facts: Facts) -> t.List[Verdict]:
    """The verdict of every host; ``facts`` as for :func:`statement.statement`. Raises SkrFailure ``invalid_input``."""
    if facts.get("action") not in ACTIONS:
        raise SkrFailure(
            "invalid_input",
            f"skr_revoke_action is {facts.get('action')!r}, wanted one of {', '.join(ACTIONS)}.",
            {"option": "skr_revoke_action"},
        )
    return [_host(facts, host) for host in facts["hosts"]]


# --- the vault's state


def by_state(facts: Facts, vm: str) -> State:
    """What the vault's state, read after the action, says of this VM."""
    return {"ungrant": _permission, "disable": _versions, "narrow": _policy}[str(facts["action"])](facts, vm)


def _permission(facts: Facts, vm: str) -> State:
    state = facts.get("state") or {}
    if "suspects" not in state:
        return State(None, "who holds the release permission could not be read")
    own = {one["principal_id"] for one in (_suspect(state, vm) or {}).get("principals", [])}
    given = {str(one).lower() for one in facts.get("principals") or []}
    held = [one for one in state.get("remaining") or [] if one["principal_id"] in own | given]
    if held:
        return State(False, f"it may still be released: {'; '.join(granted(one, state) for one in held)}")
    if not own | given:
        return State(None, "the VM has no managed identity, so its permission is not known")
    return State(True, "none of its identities has the release permission on this key any more")


def granted(one: Facts, state: Facts) -> str:
    """A grant in words."""
    why = f" ({one['why']})" if one.get("why") else ""
    return f"{holder(one['principal_id'], state)} has '{one['role']}' at {one['scope']}{why}"


def holder(principal: str, state: Facts) -> str:
    """An identity by its id, with the suspects that have it and the others."""
    found = [
        (str(suspect["name"]), one)
        for suspect in state.get("suspects") or []
        for one in suspect["principals"]
        if one["principal_id"] == principal
    ]
    names = sorted({name for name, _one in found} | {str(other) for _name, one in found for other in one["others"]})
    return f"{principal} ({', '.join(names)})" if names else principal


def _versions(facts: Facts, _vm: str) -> State:
    key = facts.get("key_after") or {}
    versions = [one for one in key.get("versions") or [] if facts.get("key_version") in (None, "", one["version"])]
    if not versions:
        return State(None, "the key's versions could not be read")
    enabled = [str(one["version"]) for one in versions if one["enabled"]]
    if enabled:
        return State(False, f"enabled still: version {', '.join(enabled)}")
    if facts.get("key_version"):
        return State(True, f"version {facts['key_version']} is disabled")
    return State(True, f"all {len(versions)} versions of the key are disabled")


def _policy(facts: Facts, vm: str) -> State:
    document = (facts.get("key_after") or {}).get("release_policy")
    if document is None:
        return State(None, "the release policy could not be read")
    vm_id = str((_suspect(facts.get("state") or {}, vm) or {}).get("vm_id") or "")
    try:
        policy = model.parse(document)
        away = narrowing.excludes(policy, vm_id) if vm_id else False
        named = (
            bool(vm_id)
            and not away
            and any(
                str(one.value).lower() == vm_id.lower()
                for _authority, all_of in narrowing.branches(policy)
                for one in all_of
            )
        )
    except SkrFailure:
        return State(None, "the release policy is beyond what can be evaluated here")
    if away:
        return State(True, f"the release policy is for other VMs alone, not for {vm_id}")
    if named:
        return State(False, f"the release policy names {vm_id}")
    return State(
        None, "the release policy does not exclude the VM by its id; whether it is met only a release can tell"
    )


def _suspect(state: Facts, vm: str) -> t.Optional[Facts]:
    return next((one for one in state.get("suspects") or [] if str(one["name"]).lower() == vm.lower()), None)


# --- the probe


def _host(facts: Facts, host: Facts) -> Verdict:
    state, expected = by_state(facts, str(host["vm"])), EXPECTED[str(facts["action"])]
    cleaned = clean_up(host, bool(facts.get("check_mode")))
    probe = host.get("probe") or {}

    def verdict(name: str, reason: t.Optional[str], message: str, found: t.Optional[str] = None) -> Verdict:
        tried = tuple({part: line(one.get(part)) for part in _TOLD} for one in probe.get("identities") or [])
        return Verdict(
            str(host["host"]), str(host["vm"]), name, reason, line(message), expected, found, _waited(facts, probe), state,
            cleaned, tried,
        )  # fmt: skip

    if any((host.get(name) or {}).get("unreachable") for name in ("reach", "copy", "units", "probe")):
        return verdict(
            "unreachable", "suspect_unreachable", f"Not reached. By the vault's state, not probed: {state.text}."
        )
    if facts.get("check_mode"):
        return verdict("planned", None, "Check mode: nothing was changed and no release was tried.")
    if not probe or "verdict" not in probe:
        reason = str(probe.get("reason") or "revocation_not_proved")
        text = str(probe.get("msg") or "The probe did not run.").strip()
        return verdict("not_proved", reason, f"No release could be tried: {text} By the vault's state: {state.text}.")
    found, text = str(probe.get("reason_found")), str(probe.get("message"))
    if probe["verdict"] == "released":
        told = f"STILL RELEASED after {_waited(facts, probe):.0f} seconds: {text} By the vault's state: {state.text}."
        return verdict("not_effective", "revocation_not_effective", told, found)
    if probe["verdict"] != "refused":
        told = f"The vault was not asked ({found}): {text} By the vault's state: {state.text}."
        return verdict("not_proved", "revocation_not_proved", told, found)
    if found != expected:
        told = f"Refused, but with {found} and not {expected}, which proves nothing about this revocation: {text}"
        return verdict("not_proved", "revocation_not_proved", f"{told} By the vault's state: {state.text}.", found)
    if state.holds is False:
        told = f"The VM says that the vault refused it ({found}), but the vault's state says otherwise: {state.text}."
        return verdict("not_proved", "revocation_state_differs", told, found)
    seconds = _waited(facts, probe)
    after = f" after {seconds:.0f} seconds" if seconds >= 1 else ""
    return verdict(
        "proved", None, f"A release was tried and refused ({found}){after}. By the vault's state: {state.text}.", found
    )


def _waited(facts: Facts, probe: Facts) -> float:
    """Seconds from the first try to the last, over all runs of the module: Ansible repeats it in chunks."""
    attempts = int(probe.get("attempts") or 1)
    before = attempts if probe.get("failed") and "verdict" in probe and probe.get("attempts") else attempts - 1
    return round(before * (float(facts.get("wait_chunk") or 0) + 1) + float(probe.get("waited_s") or 0), 1)


# --- the clean-up


def clean_up(host: Facts, planned: bool = False) -> t.Dict[str, t.Any]:
    """What became of the delivered copy and of the boot unit: words, and ``failed`` with the messages of what did not work."""
    if (host.get("reach") or {}).get("unreachable"):
        return {"copy": "not reached", "unit": "not reached", "failed": []}
    if host.get("kept"):
        return {"copy": "left in place as evidence", "unit": "left in place as evidence", "failed": []}
    copy, units = host.get("copy") or {}, host.get("units") or {}
    done = (("copy", copy), ("unit", units), *(("unit", host.get(name) or {}) for name in ("stopped", "reloaded")))
    failed = [_message(name, one) for name, one in done if _bad(one)]
    return {"copy": _copy(copy, planned), "unit": _unit(units, planned), "failed": failed}


def _bad(result: Facts) -> bool:
    """Whether a task did not do its work. A suspect that was lost on the way is among them."""
    return bool(result.get("failed") or result.get("unreachable"))


def _message(what: str, result: Facts) -> str:
    inner = [one for one in result.get("results") or [] if _bad(one)]
    texts = [str(one.get("msg") or "no message") for one in inner] or [str(result.get("msg") or "no message")]
    return line(f"{what}: {'; '.join(dict.fromkeys(texts))}")


def _copy(result: Facts, planned: bool) -> str:
    if not result or result.get("skipped"):
        return "not looked for"
    if _bad(result):
        return "NOT REMOVED"
    place = result.get("removed") or {}
    where = place.get("dest") or place.get("keyring_description") or place.get("luks_device") or place.get("deliver_to")
    done = "to be removed" if planned else "removed"
    return line(f"{done if result.get('changed') else 'was not there'} ({where})")


def _unit(result: Facts, planned: bool) -> str:
    if not result or result.get("skipped"):
        return "no unit is known here"
    if _bad(result):
        return "NOT MASKED"
    done = "to be masked" if planned else "masked"
    return done if result.get("changed") else "was masked before"
