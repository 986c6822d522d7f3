# SPDX-License-Identifier: GPL-3.0-or-later
"""What a revocation proved, what it says, and how a policy loses the suspects."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.confidential.azure_skr.plugins.filter.revocation_policy import revocation_policy
from ansible_collections.confidential.azure_skr.plugins.filter.revocation_statement import revocation_statement
from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import narrowing, revocation, statement
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import build, evaluate, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

AUTHORITY = "https://sharedweu.weu.attest.azure.net"
ONE, TWO, THREE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
PRINCIPAL = "11111111-1111-4111-8111-111111111111"
VM_ID = "x-ms-isolation-tee.x-ms-runtime.vm-configuration.vmUniqueId"
Facts = t.Dict[str, t.Any]


def bound(*vm_ids: str, **more: t.Any) -> Facts:
    return build.release_policy({"authority": AUTHORITY, "vm_unique_ids": list(vm_ids), **more})


def tokens(policy: Facts, vm_id: str) -> bool:
    """Whether an SNP VM of this id meets the policy."""
    claims = {
        "iss": AUTHORITY,
        "x-ms-isolation-tee": {
            "x-ms-attestation-type": "sevsnpvm",
            "x-ms-compliance-status": "azure-compliant-cvm",
            "x-ms-sevsnpvm-is-debuggable": False,
            "x-ms-runtime": {"vm-configuration": {"vmUniqueId": vm_id.upper()}},
        },
    }
    return evaluate.evaluate(model.parse(policy), claims).satisfied


def refused(reason: str, *arguments: t.Any, **options: t.Any) -> str:
    with pytest.raises(SkrFailure) as info:
        narrowing.narrow(*arguments, **options)
    assert info.value.reason == reason, info.value.message
    return info.value.message


# --- narrowing


@pytest.mark.parametrize("nested", [False, True])
def test_the_suspects_are_out_and_the_others_stay(nested: bool) -> None:
    live = bound(ONE, TWO, THREE, nested=nested)
    found = narrowing.narrow(live, [TWO.upper()]).as_dict()
    assert found["changed"] and found["removed"] == [TWO] and found["keeps_away"]
    assert [tokens(live, one) for one in (ONE, TWO, THREE)] == [True, True, True]
    assert [tokens(found["policy"], one) for one in (ONE, TWO, THREE)] == [True, False, True]
    again = narrowing.narrow(found["policy"], [TWO])
    assert not again.changed and again.as_dict()["policy"] == found["policy"]
    assert not narrowing.narrow(found["policy"], [TWO], immutable=True).changed


def test_both_spellings_of_a_td_go() -> None:
    found = narrowing.narrow(bound(ONE, TWO, tee_type="tdxvm"), [ONE]).as_dict()
    assert ONE not in json.dumps(found["policy"]).lower() and TWO in json.dumps(found["policy"]).lower()


def test_what_cannot_be_narrowed_is_refused() -> None:
    mixed = {"authority": AUTHORITY, "branches": [{"vm_unique_ids": [ONE, TWO]}, {"tee_type": "tdxvm"}]}
    told = refused("policy_binds_no_vm", build.release_policy(mixed), [ONE])
    assert "Of 2 rules" in told
    refused("policy_binds_no_vm", build.release_policy({"authority": AUTHORITY}), [ONE])
    refused("policy_binds_no_vm", bound(ONE), [])
    refused("policy_names_nobody_else", bound(ONE, TWO), [ONE, TWO])
    refused("policy_immutable", bound(ONE, TWO), [ONE], immutable=True)
    refused("policy_invalid", {"version": "1.0.0"}, [ONE])
    shown = revocation_policy(bound(ONE), [ONE])
    assert shown["reason"] == "policy_names_nobody_else" and "disable" in shown["msg"]


def rule(*conditions: Facts, authority: str = AUTHORITY) -> Facts:
    return {"version": "1.0.0", "anyOf": [{"authority": authority, "allOf": list(conditions)}]}


def claim(path: str, operator: str, value: t.Any) -> Facts:
    return {"claim": path, operator: value}


SVN = "x-ms-isolation-tee.x-ms-sevsnpvm-snpfw-svn"


@pytest.mark.parametrize(
    ("live", "given", "narrower"),
    [
        (claim(SVN, "greaterOrEquals", 5), claim(SVN, "greaterOrEquals", 6), True),
        (claim(SVN, "greaterOrEquals", 5), claim(SVN, "greaterOrEquals", 4), False),
        (claim(SVN, "greaterOrEquals", 5), claim(SVN, "greater", 5), True),
        (claim(SVN, "greater", 5), claim(SVN, "greaterOrEquals", 5), False),
        (claim(SVN, "greater", 5), claim(SVN, "greaterOrEquals", 6), True),
        (claim(SVN, "greater", 5), claim(SVN, "equals", 6), True),
        (claim(SVN, "greater", 5), claim(SVN, "equals", 5), False),
        (claim(SVN, "lessOrEquals", 5), claim(SVN, "less", 5), True),
        (claim(SVN, "less", 5), claim(SVN, "lessOrEquals", 5), False),
        (claim(SVN, "exists", True), claim(SVN, "less", 5), True),
        (claim(SVN, "exists", True), claim(SVN, "exists", False), False),
        (claim("secureboot", "equals", True), claim("secureboot", "equals", "true"), None),
        (claim("secureboot", "equals", True), claim(SVN, "equals", 1), False),
        (claim("secureboot", "notEquals", "x"), claim("secureboot", "equals", "y"), True),
    ],
)
def test_a_given_policy_must_be_narrower(live: Facts, given: Facts, narrower: t.Optional[bool]) -> None:
    """None: it is the same, by another spelling."""
    if narrower is False:
        refused("policy_not_narrower", rule(live), [], given=rule(given))
    else:
        found = narrowing.narrow(rule(live), [], given=rule(given))
        assert found.changed is bool(narrower) and not found.keeps_away


def test_a_given_policy_of_another_authority_or_with_another_rule_is_not_narrower() -> None:
    condition = claim("secureboot", "equals", True)
    refused(
        "policy_not_narrower", rule(condition), [], given=rule(condition, authority="https://x.weu.attest.azure.net")
    )
    wider = rule(condition)
    wider["anyOf"].append({"authority": AUTHORITY, "allOf": [claim(SVN, "equals", 1)]})
    refused("policy_not_narrower", rule(condition), [], given=wider)
    more = narrowing.narrow(wider, [ONE], given=rule(condition, claim(VM_ID, "equals", TWO.upper())))
    assert more.changed and more.keeps_away


# --- verdicts


def row(host: str = "web-1", **more: t.Any) -> Facts:
    return {"host": host, "vm": host, "reach": {"changed": False}, **more}


def answered(verdict: str = "refused", reason: str = "permission_missing", **more: t.Any) -> Facts:
    return {"verdict": verdict, "reason_found": reason, "message": f"told {reason}.", "waited_s": 0.2, **more}


def known(*hosts: Facts, action: str = "ungrant", **more: t.Any) -> Facts:
    suspects = [
        {"name": one["vm"], "vm_id": ONE, "principals": [{"principal_id": PRINCIPAL, "others": []}]} for one in hosts
    ]
    return {
        "action": action, "key_name": "app", "where": "https://kv-x.vault.azure.net", "wait_chunk": 45,
        "times": {"started": "a", "stopped": "b", "finished": "c"},
        "control": {"changed": True, "taken": [{"principal_id": PRINCIPAL, "role": "release", "scope": "/v"}]},
        "state": {"suspects": suspects, "remaining": [], "elsewhere": []},
        "key_after": {}, "hosts": list(hosts), **more,
    }  # fmt: skip


def only(facts: Facts) -> revocation.Verdict:
    (found,) = revocation.judge(facts)
    return found


def test_refused_as_expected_and_confirmed_by_the_vault() -> None:
    found = only(known(row(probe=answered(waited_s=5.1))))
    assert (found.verdict, found.reason, found.failed) == ("proved", None, False)
    assert "permission_missing" in found.message and "after 5 seconds" in found.message


def test_a_vm_that_claims_a_refusal_the_vault_does_not_know_of_proves_nothing() -> None:
    held = {"principal_id": PRINCIPAL, "role": "Key Vault Administrator", "scope": "/subscriptions/s", "why": "above"}
    facts = known(row(probe=answered()))
    facts["state"]["remaining"] = [held]
    found = only(facts)
    assert (found.verdict, found.reason) == ("not_proved", "revocation_state_differs")
    assert "Key Vault Administrator" in found.message and "(web-1)" in found.message and found.failed


@pytest.mark.parametrize(
    ("probe", "verdict", "reason"),
    [
        (answered("released", "released"), "not_effective", "revocation_not_effective"),
        (answered("refused", "vault_firewall"), "not_proved", "revocation_not_proved"),
        (answered("not_asked", "network_unreachable"), "not_proved", "revocation_not_proved"),
        ({"failed": True, "reason": "tpm_missing", "msg": "no TPM"}, "not_proved", "tpm_missing"),
        ({"failed": True, "msg": "MODULE FAILURE"}, "not_proved", "revocation_not_proved"),
        ({}, "not_proved", "revocation_not_proved"),
        ({"unreachable": True, "msg": "gone"}, "unreachable", "suspect_unreachable"),
    ],
)
def test_everything_else_is_no_proof(probe: Facts, verdict: str, reason: str) -> None:
    found = only(known(row(probe=probe)))
    assert (found.verdict, found.reason, found.failed) == (verdict, reason, True)
    assert "none of its identities" in found.message  # what the vault says is told all the same
    assert found.as_dict()["next_step"]


def test_the_wait_is_summed_over_the_runs_of_the_module() -> None:
    facts = known(row(probe=answered("released", "released", waited_s=45.0, attempts=2, failed=True)))
    assert only(facts).waited_s == 137.0 and "after 137 seconds" in only(facts).message
    facts = known(row(probe=answered(waited_s=3.0, attempts=2)))
    assert only(facts).waited_s == 49.0


def test_not_reached_is_told_by_the_vaults_state() -> None:
    found = only(known(row(reach={"unreachable": True})))
    assert found.verdict == "unreachable" and "By the vault's state, not probed" in found.message
    assert found.clean_up == {"copy": "not reached", "unit": "not reached", "failed": []}
    lost = only(known(row(copy={"unreachable": True, "msg": "lost"})))
    assert lost.verdict == "unreachable" and lost.clean_up["failed"] == ["copy: lost"]


@pytest.mark.parametrize(
    ("versions", "version", "holds"),
    [
        ([("1", False), ("2", False)], "", True),
        ([("1", False), ("2", True)], "", False),
        ([("1", False), ("2", True)], "1", True),
        ([("1", True)], "1", False),
        ([], "", None),
    ],
)
def test_disabled_by_the_vaults_state(
    versions: t.List[t.Tuple[str, bool]], version: str, holds: t.Optional[bool]
) -> None:
    listed = [{"version": name, "enabled": enabled} for name, enabled in versions]
    facts = known(row(probe=answered(reason="key_disabled")), action="disable", key_version=version)
    facts["key_after"] = {"versions": listed}
    found = only(facts)
    assert found.by_state.holds is holds
    assert found.verdict == ("not_proved" if holds is False else "proved")
    told = statement.statement({**facts, "control": {"changed": True, "stopped_versions": ["1"]}})
    assert "EVERYBODY is refused" in told["markdown"] and "disabled: version 1" in told["markdown"]


def test_narrowed_by_the_vaults_state() -> None:
    def state(policy: t.Any) -> revocation.State:
        facts = known(row(), action="narrow", key_after={"release_policy": policy})
        return revocation.by_state(facts, "web-1")

    assert state(bound(TWO)).holds is True
    assert state(bound(ONE, TWO)).holds is False and ONE in state(bound(ONE, TWO)).text
    assert state(build.release_policy({"authority": AUTHORITY})).holds is None
    assert state("no policy").holds is None and state(None).holds is None


def test_permission_that_cannot_be_read_is_not_taken_for_gone() -> None:
    facts = known(row(reach={"unreachable": True}), state={"failed": True, "msg": "no right"})
    assert only(facts).by_state.holds is None and "could not be read" in only(facts).message
    facts = known(row(reach={"unreachable": True}))
    facts["state"]["suspects"][0]["principals"] = []
    assert only(facts).by_state.holds is None
    assert revocation.by_state({**facts, "principals": [PRINCIPAL.upper()]}, "web-1").holds is True


def test_clean_up_is_told() -> None:
    done = row(copy={"changed": True, "removed": {"deliver_to": "file", "dest": "/run/x"}}, units={"changed": True})
    assert revocation.clean_up(done) == {"copy": "removed (/run/x)", "unit": "masked", "failed": []}
    again = row(
        copy={"changed": False, "removed": {"deliver_to": "luks", "luks_device": "/dev/x"}}, units={"results": []}
    )
    assert revocation.clean_up(again) == {"copy": "was not there (/dev/x)", "unit": "was masked before", "failed": []}
    bad = {"failed": True, "results": [{"failed": True, "msg": "busy"}, {"failed": True, "msg": "busy"}, {}]}
    failed = revocation.clean_up(row(copy={"failed": True, "msg": "last slot"}, units=bad, stopped={"failed": True}))
    assert failed["failed"] == ["copy: last slot", "unit: busy", "unit: no message"]
    assert (failed["copy"], failed["unit"]) == ("NOT REMOVED", "NOT MASKED")
    assert "evidence" in revocation.clean_up(row(kept=True))["copy"]
    facts = known(row(probe=answered(), copy={"failed": True, "msg": "last slot"}))
    assert only(facts).verdict == "proved" and only(facts).failed
    assert statement.statement(facts)["failures"] == {"web-1": "copy: last slot [clean_up_failed]"}


# --- the statement


def test_the_statement_says_it_all() -> None:
    hosts = (
        row("web-1", probe=answered()),
        row("web-2", probe=answered("released", "released")),
        row("web-3", reach={"unreachable": True}),
        row("web-4", probe=answered("refused", "vault_firewall")),
    )
    facts = known(*hosts)
    facts["state"]["elsewhere"] = [
        {"principal_id": PRINCIPAL, "role": "release", "scope": "/subscriptions/s/resourceGroups/r/vaults/v/keys/k"},
        {"principal_id": PRINCIPAL, "role": "release", "scope": "/subscriptions/s"},
    ]
    found = revocation_statement(facts)
    document, text = found["document"], "\n".join(found["lines"])
    assert document["schema"] == "azure-skr/revocation/1" and not document["proved"]
    assert document["unreachable"] == ["web-3"] and sorted(found["failures"]) == ["web-2", "web-3", "web-4"]
    assert [one["scope"] for one in document["elsewhere"]][0] == "/subscriptions/s"
    assert json.loads(json.dumps(document)) == document
    for words in (
        "AT ONCE: web-2 can still get the key",
        "Reach web-3",
        "why web-4 gave no proof",
        "released before",
        "LUKS volume that is open",
        "up to 8 hours",
        "Rotate the key",
        "in the order listed",
        "Take the suspects out of the inventory",
    ):
        assert words in text and words in found["markdown"], words
    assert text.index("Proof, host by host") < text.index("What cannot be recalled") < text.index("Next steps")


def test_second_run_and_check_mode_do_not_boast() -> None:
    again = statement.statement(known(row(probe=answered()), control={"changed": False, "taken": []}))
    assert "Nothing had to be changed" in again["lines"][4] and again["document"]["proved"]
    planned = statement.statement(known(row(probe={"skipped": True}), check_mode=True))
    assert planned["document"]["hosts"][0]["verdict"] == "planned" and planned["failures"] == {}
    assert "Would be done" in planned["markdown"] and not planned["document"]["proved"]
    assert planned["document"]["next_steps"] == ["Run it without check mode."]


def test_other_keys_that_could_not_be_looked_for_are_told_as_not_known() -> None:
    facts = known(row(probe=answered()))
    facts["state"]["elsewhere"] = None
    found = statement.statement(facts)
    assert found["document"]["elsewhere"] is None and "Not known: it could not be read." in "\n".join(found["lines"])


def test_words_of_a_suspect_are_text_and_no_markup() -> None:
    evil = answered("not_asked", "x", message="<script>\n# Title\n[a](http://x) | `b` \x1b[2J" + 9999 * "y")
    found = statement.statement(known(row(probe=evil)))
    assert "<script>" not in found["markdown"] and "\n# Title" not in found["markdown"]
    assert all(line.isprintable() and len(line) < 2000 for line in found["lines"])


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(SkrFailure) as info:
        statement.statement(known(row(), action="destroy"))
    assert info.value.facts["option"] == "skr_revoke_action"
