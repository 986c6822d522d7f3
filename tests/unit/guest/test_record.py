# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence of a release try: what is in it, who may read it, how many stay, and that it never costs a key."""

from __future__ import annotations

import json
import stat
import typing as t
import warnings
from pathlib import Path

import pytest
from sentinel import TOKEN, Sentinel
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import refused, rsa_key
from unit.guest.test_release import UNMET, Job, denial, job, run

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import record
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import about
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrWarning

__all__ = ["job"]
ROOT = Path(__file__).resolve().parents[3]
MET = {"version": "1.0.0", "anyOf": [{"authority": fakes.ISSUER, "allOf": [{"claim": "secureboot", "equals": True}]}]}
NOT_MET = {
    "version": "1.0.0",
    "anyOf": [{"authority": fakes.ISSUER, "allOf": [{"claim": "secureboot", "equals": False}]}],
}


def kept(folder: Path) -> t.List[t.Dict[str, t.Any]]:
    return [json.loads((folder / name).read_bytes()) for name in record.names(str(folder))]


def test_a_release(job: Job, tmp_path: Path) -> None:
    job.key = rsa_key("released")
    folder = tmp_path / "new" / "evidence"
    result = run(job, tmp_path, evidence_dir=str(folder), release_policy=MET, key_version=fakes.VERSION)
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    (found,) = kept(folder)
    assert found["schema"] == "azure-skr/evidence-record/1" and path.name == f"{found['id']}.released.json"
    assert (found["outcome"], found["reason"], found["message"], found["security_event"]) == (
        "released",
        "released",
        None,
        False,
    )
    assert found["key"]["kid"] == result["kid"] and found["key"]["public_key_sha256"] == result["public_key_sha256"]
    assert found["request"]["key_version"] == fakes.VERSION and found["request"]["dest"] == str(tmp_path / "app.pem")
    assert found["policy"]["satisfied"] and found["policy"]["sha256"] == result["preflight"]["policy_sha256"]
    assert found["policy"]["trace"][0]["conditions"][0]["claim"] == "secureboot"
    assert found["evidence"] == {"secure_boot": True, "tee": "snp"} and found["attestation"]["claims"] == job.claims
    assert found["tool"] == {"collection": "confidential.azure_skr", "version": about.VERSION, "door": "module"}
    assert (found["changed"], found["delivered"], found["counts"]) == (True, result["delivered"], result["counts"])
    assert all(found["times"].values()) and "evidence_dir" not in str(result)
    assert Sentinel(job.key).found_in(path.read_bytes()) == []


def test_the_token_is_kept_in_parts() -> None:
    from unit.audit import audit_fakes

    found = audit_fakes.made()
    parts = found["attestation"]["token"]
    assert ".".join(parts[name] for name in ("protected", "payload", "signature")).count(".") == 2
    assert not TOKEN.search(json.dumps(found).encode()) and TOKEN.search(
        audit_fakes.token(found["attestation"]["claims"]).encode()
    )


def test_a_refusal_before_the_vault_is_asked(job: Job, tmp_path: Path) -> None:
    """AC-13: the failing claim, what was wanted and found; marked as a security event."""
    with refused("policy_not_met"):
        run(job, tmp_path, evidence_dir=str(tmp_path / "e"), release_policy=NOT_MET)
    (found,) = kept(tmp_path / "e")
    assert (found["outcome"], found["reason"], found["security_event"]) == ("refused", "policy_not_met", True)
    (failing,) = found["policy"]["failing"]
    assert (failing["claim"], failing["wanted"], failing["found"]) == ("secureboot", False, True)
    assert found["key"] is None and found["request_id"] is None and found["times"]["answered"] is None
    assert found["policy"]["source"] == "given" and found["next_step"]


def test_a_refusal_by_the_vault_names_its_request(job: Job, tmp_path: Path) -> None:
    status, headers, body = denial("Caller is not authorized to perform action on resource.", "ForbiddenByRbac")
    job.denials = [(status, {**headers, "x-ms-request-id": "request-77"}, body)]
    with refused("permission_missing"):
        run(job, tmp_path, evidence_dir=str(tmp_path / "e"), release_policy=MET)
    (found,) = kept(tmp_path / "e")
    assert (found["outcome"], found["request_id"], found["security_event"]) == ("refused", "request-77", False)
    assert found["policy"]["satisfied"] is True and found["facts"]["status"] == 403


def test_the_live_policy_that_decided_is_the_one_recorded(job: Job, tmp_path: Path) -> None:
    job.live = NOT_MET
    job.denials = [denial(UNMET)]
    with refused("policy_not_met"):
        run(job, tmp_path, evidence_dir=str(tmp_path / "e"), release_policy=MET)
    (found,) = kept(tmp_path / "e")
    assert found["policy"]["source"] == "live" and found["policy"]["satisfied"] is False


def test_an_answer_that_is_not_the_vaults_is_a_security_event(job: Job, tmp_path: Path) -> None:
    job.members = {"nonce": "another"}
    with refused("response_nonce_mismatch"):
        run(job, tmp_path, evidence_dir=str(tmp_path / "e"), release_policy=MET)
    (found,) = kept(tmp_path / "e")
    assert (found["outcome"], found["security_event"], found["key"]) == ("failed", True, None)


def test_a_key_that_was_released_and_not_delivered_is_recorded(job: Job, tmp_path: Path) -> None:
    (tmp_path / "app.pem").mkdir()
    with pytest.raises(fakes.SkrFailure):
        run(job, tmp_path, evidence_dir=str(tmp_path / "e"), release_policy=MET)
    (found,) = kept(tmp_path / "e")
    assert found["outcome"] == "failed" and (found["key"] or {}).get("kid") in (None, fakes.KID)


def test_neither_in_check_mode_nor_without_a_folder(job: Job, tmp_path: Path) -> None:
    run(job, tmp_path, evidence_dir=str(tmp_path / "e"), check_mode=True)
    run(job, tmp_path)
    assert not (tmp_path / "e").exists()


def test_a_record_that_cannot_be_written_costs_nothing(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    result = run(job, tmp_path, evidence_dir=str(tmp_path / "file" / "e"))
    assert result["changed"] and (tmp_path / "app.pem").exists()
    assert ["evidence_dir" in one and "Not a directory" in one for one in result["warnings"]] == [True]
    with warnings.catch_warnings(record=True) as told, refused("policy_not_met"):
        warnings.simplefilter("always")
        run(job, tmp_path, evidence_dir=str(tmp_path / "file" / "e"), release_policy=NOT_MET)
    assert [one.category for one in told] == [SkrWarning]


def test_an_unforeseen_fault_while_recording_costs_nothing(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_words: t.Any) -> t.NoReturn:
        raise RuntimeError("sentinel text")

    monkeypatch.setattr(record, "make", broken)
    result = run(job, tmp_path, evidence_dir=str(tmp_path / "e"))
    assert "RuntimeError" in result["warnings"][0] and "sentinel text" not in str(result)


def test_the_newest_of_each_outcome_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KEEP", 3)
    for outcome in ("released", "failed"):
        for number in range(6):
            record.keep(str(tmp_path), {"id": f"20261125T12000{number}Z-00000{number}", "outcome": outcome})
    (tmp_path / "notes.txt").write_text("not ours")
    for outcome in ("released", "failed"):
        found = record.names(str(tmp_path), outcome)
        assert [name[14:15] for name in found] == ["3", "4", "5"]
    assert (tmp_path / "notes.txt").exists() and len(list(tmp_path.iterdir())) == 7


def test_the_version_is_the_collections() -> None:
    assert f"\nversion: {about.VERSION}\n" in (ROOT / "galaxy.yml").read_text()
