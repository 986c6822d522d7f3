# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts that only a trial shows: a throw-away key made, released under several policies, disabled and deleted."""

from __future__ import annotations

import typing as t

from .fact import Observation, Seen, Unseen, fact, failed

OFF = "skr_field_check_writes is not set"


def _step(trial: Observation, name: str) -> Observation:
    """The result of a step, failed or not. Raises Unseen where it was not made."""
    if not trial:
        raise Unseen(OFF)
    result = trial.get(name)
    if not isinstance(result, t.Mapping) or result.get("skipped"):
        raise Unseen(f"the trial did not get to its step {name}")
    if result.get("unreachable"):
        raise Unseen("the VM was not reached")
    return result


def outcome(result: Observation) -> str:
    """``released``, or the reason code of a failure; the service's words where no code fits."""
    if not failed(result):
        return "released"
    reason = str(result.get("reason") or "no reason code")
    return f"{reason}: {result.get('msg')}" if reason in ("service_error", "internal_error") else reason


def _released(trial: Observation, name: str) -> Seen:
    """Whether a step released the key. A step that follows needs the grant; where it never worked nothing is learnt."""
    result = _step(trial, name)
    if name != "released" and outcome(_step(trial, "released")) != "released":
        raise Unseen("the plain release did not work, so nothing can be told")
    found = outcome(result)
    return Seen(found, found == "released")


def _refused(trial: Observation, name: str, *reasons: str) -> Seen:
    result = _step(trial, name)
    if outcome(_step(trial, "released")) != "released":
        raise Unseen("the plain release did not work, so nothing can be told")
    found = outcome(result)
    return Seen(found, found in reasons)


@fact("policy_read_back", "vault", "a policy reads back with the meaning that it was written with", "trial")
def policy_read_back(trial: Observation) -> Seen:
    first, again = _step(trial, "key"), _step(trial, "key_again")
    if failed(first):
        raise Unseen(f"the key could not be made: {first.get('reason')}")
    if failed(again):
        return Seen(outcome(again), False)
    return Seen("another meaning" if again.get("changed") else "the same", not again.get("changed"))


@fact("no_permission", "vault", "without the permission a release is refused in words that are known", "trial")
def no_permission(trial: Observation) -> Seen:
    found = outcome(_step(trial, "no_grant"))
    if found == "released":
        raise Unseen("the identity held the permission before")
    return Seen(found, found == "permission_missing")


@fact("grant_effective", "vault", "a new grant takes effect within 10 minutes", "trial")
def grant_effective(trial: Observation) -> Seen:
    result = _step(trial, "released")
    if outcome(result) != "released":
        return Seen(outcome(result), False)
    waited = float(result.get("waited_s") or 0)
    return Seen(f"after {waited:.0f} s", waited <= 600)


@fact("release", "vault", "a VM that meets the policy gets the key, and the answer verifies", "trial")
def release(trial: Observation) -> Seen:
    return _released(trial, "released")


@fact("wrap_sha1", "vault", "the key comes wrapped by CKM_RSA_AES_KEY_WRAP where that is asked for", "trial")
def wrap_sha1(trial: Observation) -> Seen:
    return _released(trial, "wrap_sha1")


@fact("wrap_384", "vault", "the key comes wrapped by RSA_AES_KEY_WRAP_384 where that is asked for", "trial")
def wrap_384(trial: Observation) -> Seen:
    return _released(trial, "wrap_384")


@fact("not_met", "policy engine", "a condition that fails is refused with 'does not meet key release policy'", "trial")
def not_met(trial: Observation) -> Seen:
    return _refused(trial, "not_met", "policy_not_met")


@fact(
    "other_authority",
    "policy engine",
    "a token of an authority that no rule names is refused in the same words",
    "trial",
)
def other_authority(trial: Observation) -> Seen:
    return _refused(trial, "other_authority", "policy_not_met", "authority_mismatch")


@fact("operators", "policy engine", "operators besides equals are evaluated as the grammar says", "trial")
def operators(trial: Observation) -> Seen:
    return _released(trial, "operators")


@fact("nested", "policy engine", "conditions within conditions are evaluated", "trial")
def nested(trial: Observation) -> Seen:
    return _released(trial, "nested")


@fact("text_boolean", "policy engine", "a boolean claim satisfies a condition with its text", "trial")
def text_boolean(trial: Observation) -> Seen:
    return _released(trial, "text_boolean")


@fact("expired", "vault", "a key past its expiry is released all the same", "trial")
def expired(trial: Observation) -> Seen:
    return _released(trial, "expired")


@fact("disabled", "vault", "a disabled key is refused in words that are known", "trial")
def disabled(trial: Observation) -> Seen:
    return _refused(trial, "disabled", "key_disabled")


@fact("purge", "vault", "a deleted key is purged, unless the vault is protected against it", "trial")
def purge(trial: Observation) -> Seen:
    result = _step(trial, "purged")
    if not failed(result):
        return Seen("purged", True)
    if result.get("reason") == "permission_missing":
        raise Unseen("the controller may not purge; the deleted key stays until its retention ends")
    return Seen(str(result.get("reason") or result.get("msg")), result.get("reason") == "purge_refused")


def _never(name: str, topic: str, assumes: str, why: str) -> None:
    def judge(_observations: Observation) -> Seen:
        raise Unseen(why)

    fact(name, topic, assumes, "never")(judge)


# What a subscription could tell, and this check does not ask: the reason is part of the report.
_never(
    "binary_runtime_data",
    "platform token",
    "runtime data declared binary are not echoed",
    "this client sends JSON alone",
)
_never(
    "mrconfigid_hash", "platform token", "MRCONFIGID is compared with SHA-384 of the init-time data",
    "this client sends no init-time data",
)  # fmt: skip
_never(
    "ak_renewal", "metadata service", "an AK certificate renewed in the background answers 404 for about 30 s",
    "a renewal is not started here",
)  # fmt: skip
_never(
    "throttling",
    "vault",
    "the documented number of requests in 10 s is what the vault allows",
    "a check does not load a vault",
)
_never(
    "identical_immutable",
    "policy engine",
    "writing an identical immutable policy succeeds",
    "an immutable policy cannot be undone",
)
_never("hsm_not_activated", "managed HSM", "a managed HSM before activation answers 401 or 403", "no HSM is made here")
_never("unit_boot", "boot unit", "the unit runs confined under the distribution's systemd", "no VM is rebooted here")
