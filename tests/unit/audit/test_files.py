# SPDX-License-Identifier: GPL-3.0-or-later
"""From collected files to a bundle on disk: idempotent, checked by openssl and sha256sum too; the auditor's command."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from unit.audit import audit_fakes as fakes
from unit.guest import release_fakes
from unit.guest.release_fakes import refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import (
    bundle,
    collect,
    control,
    files,
    metrics,
    signature,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import cli, record, status

OPENSSL = shutil.which("openssl")
KEYS: t.Dict[str, t.Callable[[], t.Any]] = {
    "rsa": lambda: release_fakes.rsa_key("auditor"),
    "ec": lambda: release_fakes.ec_key("auditor"),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two hosts' collected files."""
    folder = tmp_path / "source"
    folder.mkdir()
    for host, found in (("web-01", fakes.made()), ("web-02", fakes.refused())):
        record.keep(str(tmp_path / host), found)
        status.write(str(tmp_path / host / "status"), "app", {"outcome": "failed", "reason": "x", "time": 5.0})
        gathered = collect.collect(str(tmp_path / host), str(tmp_path / host / "status"))
        (folder / f"{host}.json.gz").write_bytes(collect.pack(gathered))
    return folder


def wanted(source: Path, **changes: t.Any) -> files.Wanted:
    hosts = [{"host": "web-02", "reachable": True}, {"host": "web-01", "reachable": True},
             {"host": "web-03", "reachable": False, "reason": "No route to host"}, {"host": "web-04", "reachable": True}]  # fmt: skip
    given: t.Dict[str, t.Any] = {
        "source": str(source), "dest": str(source.parent / "out" / "a.tar.gz"), "hosts": hosts, "control": {"keys": fakes.KEYS}, **changes,
    }  # fmt: skip
    return files.Wanted(**given)


def private_key(tmp_path: Path, kind: str, passphrase: t.Optional[bytes] = None) -> str:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    key = KEYS[kind]()
    path = tmp_path / f"{kind}.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    (tmp_path / f"{kind}.pub").write_text(signature.pem(key.public_key()))
    return str(path)


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_made_once_and_checked_by_other_tools(source: Path, tmp_path: Path, kind: str) -> None:
    how = wanted(
        source,
        private_key=private_key(tmp_path, kind, b"open sesame"),
        passphrase="open sesame",
        metrics_dest=str(tmp_path / "fleet.prom"),
    )
    predicted = files.make(how, True)
    assert predicted["changed"] and not Path(how.dest).exists()
    made = files.make(how, False)
    assert made["changed"] and made["records"] == {"web-01": 1, "web-02": 1} and made["warnings"] == []
    assert made["gaps"] == ["web-03: No route to host", "web-04: nothing was collected"]
    before = {path: path.read_bytes() for path in Path(how.dest).parent.iterdir()}
    assert {stat.S_IMODE(path.stat().st_mode) for path in before} == {0o600}
    again = files.make(how, False)
    assert not again["changed"] and before == {path: path.read_bytes() for path in Path(how.dest).parent.iterdir()}
    assert files.check(how.dest, str(tmp_path / f"{kind}.pub"), None, []).verdict == "verified"
    assert files.check(how.dest, made["public_key_pem"], None, []).verdict == "verified"
    assert not [path for path in Path(how.dest).parent.iterdir() if path.name.startswith(".")]
    public = str(tmp_path / f"{kind}.pub")
    words = ["pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", how.dest, "-sigfile", f"{how.dest}.sig"]
    if kind != "ed25519":
        words = ["dgst", "-sha256", "-verify", public, "-signature", f"{how.dest}.sig", how.dest]
    if OPENSSL:  # Python's library says the same; this shows that an auditor needs none of it
        assert subprocess.run([OPENSSL, *words], capture_output=True, check=False).returncode == 0
    done = subprocess.run(
        ["sha256sum", "-c", f"{how.dest}.sha256"], cwd=source.parent / "out", capture_output=True, check=False
    )
    assert done.returncode == 0


def test_another_record_makes_another_bundle_and_an_unsigned_one_loses_the_old_signature(
    source: Path, tmp_path: Path
) -> None:
    how = wanted(source, private_key=private_key(tmp_path, "ec"), created=fakes.CREATED)
    files.make(how, False)
    more = collect.unpack((source / "web-01.json.gz").read_bytes(), "x")
    second = fakes.made()
    more.records["20300101T000000Z-aaaaaa.released.json"] = fakes.octets({**second, "id": "20300101T000000Z-aaaaaa"})
    (source / "web-01.json.gz").write_bytes(collect.pack(more))
    assert files.make(how, True)["changed"]
    made = files.make(how._replace(private_key=None), False)
    assert made["changed"] and made["records"]["web-01"] == 2 and "not signed" in made["warnings"][0]
    assert not Path(f"{how.dest}.sig").exists()
    found = files.check(how.dest, None, None, [])
    assert found.verdict == "verified" and "proves nothing about who" in found.text()


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"dest": "/tmp/a.zip"}, "dest"),
        ({"created": "yesterday"}, "created"),
        ({"private_key": "/nowhere"}, "private_key"),
        ({"dest": "/proc/x/a.tar.gz"}, "dest"),
    ],
)
def test_bad_input(source: Path, change: t.Dict[str, t.Any], option: str) -> None:
    with refused("invalid_input") as told:
        files.make(wanted(source, **change), False)
    assert told.value.facts["option"] == option


def test_what_is_no_collected_file(source: Path) -> None:
    for content in (
        b"",
        b"x",
        collect.gzip.compress(b"[]"),
        collect.gzip.compress(b'{"schema": "azure-skr/evidence-collected/1"}'),
    ):
        (source / "web-01.json.gz").write_bytes(content)
        with refused("record_invalid"):
            files.make(wanted(source), False)


def test_collected_is_what_is_readable_and_new(tmp_path: Path) -> None:
    found = fakes.made()
    for number in (1, 2, 3):
        record.keep(str(tmp_path), {**found, "id": f"2026112{number}T000000Z-00000{number}"})
    (tmp_path / "20261129T000000Z-aaaaaa.failed.json").write_text("{}")
    gathered = collect.collect(str(tmp_path), str(tmp_path / "none"), collect.since("2026-11-22"))
    assert sorted(gathered.records) == [
        "20261122T000000Z-000002.released.json",
        "20261123T000000Z-000003.released.json",
    ]
    assert len(gathered.problems) == 1 and "schema" in gathered.problems[0]
    assert collect.unpack(collect.pack(gathered), "x") == gathered
    assert collect.collect(str(tmp_path / "none"), str(tmp_path / "none")).records == {}
    for wrong in ("yesterday", "2026-11-31", "2026-11-22T1:00"):
        with refused("invalid_input"):
            collect.since(wrong)


def test_handed_over_for_one_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect.tempfile, "tempdir", str(tmp_path))
    nothing = collect.Collected({}, {}, {}, [])
    assert "path" not in collect.hand_over(nothing, "web-01", None, True) and list(tmp_path.iterdir()) == []
    told = collect.hand_over(nothing, "web-01", None, False)
    assert told["file_name"] == "web-01.json.gz" and stat.S_IMODE(os.stat(told["path"]).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(told["folder"]).st_mode) == 0o700
    with refused("invalid_input"):
        collect.hand_over(nothing, "web-01", "no-such-user", False)
    if os.geteuid() == 0:
        monkeypatch.setenv("SUDO_UID", "4242")
        told = collect.hand_over(nothing, "web-01", None, False)
        assert os.stat(told["path"]).st_uid == os.stat(told["folder"]).st_uid == 4242


def test_names_of_hosts_become_names_of_files() -> None:
    assert bundle.plain("web-01.example.com") == "web-01.example.com"
    odd = {bundle.plain(name) for name in ("../x", "..", "a/b", "a b", "ü", "x" * 300, "a:b", "")}
    assert len(odd) == 8 and all(bundle.archive.fits(f"records/{name}/{'x' * 22}.json") for name in odd)


def test_metrics_of_the_fleet() -> None:
    one = '# HELP m Meaning.\n# TYPE m gauge\nm{name="a"} 1\n'
    both = metrics.merged([one, one.replace('"a"', '"b"')])
    assert both.count("# HELP") == 1 and 'm{name="b"} 1' in both
    rows = [{"host": "h1", "reachable": True, "status": {"a": {"state": "ok"}}}, {"host": "h2", "reachable": False}]
    found = metrics.fleet({"h1": both, 'h"2': one}, rows, {"h1": [fakes.refused(), fakes.made()]})
    lines = found.splitlines()
    for line in ('m{host="h1",name="a"} 1', 'm{host="h\\"2",name="a"} 1', 'azure_skr_fleet_hosts{reachable="no"} 1', "azure_skr_fleet_security_events 1",
                 'azure_skr_fleet_instances{state="ok"} 1', 'azure_skr_fleet_records{outcome="refused",reason="policy_not_met"} 1'):  # fmt: skip
        assert line in lines, found
    assert sum(line.startswith("# TYPE m ") for line in lines) == 1


def test_control_facts() -> None:
    info = [{"name": "app", "kid": fakes.KEYS[0]["kid"], "explanation": "a\nb", "lint": [{"code": "satisfied_by_any_tenant"}],
             "versions": [{"version": "1", "enabled": True, "kid": "left out"}]}]  # fmt: skip
    (row,) = control.keys(
        info,
        "https://kv.vault.azure.net/",
        {"satisfied_by_any_tenant": "One grant for each VM.", "other": "Not found."},
    )
    assert row["explained"] == ["a", "b"] and row["vault_uri"] == "https://kv.vault.azure.net"
    assert row["versions"] == [
        {"version": "1", "enabled": True, "created": None, "not_before": None, "expires_on": None}
    ]
    assert [(one["code"], one["found"]) for one in row["accepted_findings"]] == [
        ("other", False),
        ("satisfied_by_any_tenant", True),
    ]
    vms = [
        {"name": "a", "principal_id": "P1", "user_assigned": [{"principal_id": "p2"}]},
        {"name": "b", "user_assigned": [{"principal_id": "p2"}]},
    ]
    rows = control.access([{"principal_id": one} for one in ("p1", "p2", "p3")], vms)
    assert [(one["principal_id"], one["vm"]) for one in rows] == [("p1", "a"), ("p2", "a"), ("p2", "b"), ("p3", None)]


def test_the_auditors_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = wanted(source, private_key=private_key(tmp_path, "ec"))
    files.make(how, False)
    words = ["verify-evidence", how.dest, "--public-key", str(tmp_path / "ec.pub")]
    assert cli.main(words) == 0 and "VERIFIED: 2 records" in capsys.readouterr().out
    (tmp_path / "certs.json").write_text(json.dumps(fakes.key_set()))
    assert cli.main([*words, "--jwks", str(tmp_path / "certs.json"), "--verbose"]) == 0
    told = capsys.readouterr().out
    assert "signing keys of the tokens: the auditor" in told and " 6. ok" in told
    assert cli.main([*words, "--jwks", f"{release_fakes.ISSUER}={tmp_path / 'certs.json'}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"] is True
    assert cli.main(["verify-evidence", how.dest, "--sha256", f"{how.dest}.sha256"]) == 0
    Path(how.dest).write_bytes(Path(how.dest).read_bytes() + b"\0")
    assert cli.main(words) == 1 and "REJECTED" in capsys.readouterr().out
    for option in (
        ["--public-key", "/nowhere"],
        ["--sha256", "/nowhere"],
        ["--jwks", "/nowhere"],
        ["--jwks", str(tmp_path / "ec.pub")],
    ):
        assert cli.main(["verify-evidence", how.dest, *option]) == 2
        assert option[0] in capsys.readouterr().err
    assert cli.main(["verify-evidence", "/nowhere"]) == 2 and "BUNDLE is" in capsys.readouterr().err
