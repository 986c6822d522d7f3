# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery as systemd credentials, with the real systemd-creds where it is installed; it is watched, and made to fail."""

from __future__ import annotations

import base64
import errno
import json
import os
import secrets
import subprocess
import typing as t
from pathlib import Path

import pytest
from unit.guest.program_fakes import Programs, found
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, material, unwrap
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import files

CREDS = found("systemd-creds")
ONE, TWO = (material.Material("EC", private=ec_key(name)) for name in ("one", "two"))
needs_systemd = pytest.mark.skipif(
    CREDS is None or os.geteuid() != 0, reason="systemd-creds is not installed, or this is not root"
)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own folder counts as memory."""
    monkeypatch.setattr(files, "file_system", lambda _path: ("tmpfs", "/"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """The real program, with a key of its own instead of the machine's."""
    made = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    if CREDS:
        made.spy("systemd-creds", f"SYSTEMD_CREDENTIAL_SECRET={tmp_path}/host.secret; export SYSTEMD_CREDENTIAL_SECRET")
    return made


def target(folder: Path, **changes: t.Any) -> deliver.Target:
    options: t.Dict[str, t.Any] = {"credential_name": "tls.key", "credential_store": str(folder / "store"), **changes}
    return deliver.Target(deliver_to="systemd_credential", **options)


def run(place: deliver.Target, made: material.Material = ONE, check_mode: bool = False) -> t.Tuple[bool, t.Any]:
    return deliver.check(place).deliver(made, check_mode)


def sealed(folder: Path, **changes: t.Any) -> deliver.Target:
    return target(folder, credential_encryption="host", **changes)


# --- plain


def test_a_plain_credential(tmp_path: Path) -> None:
    changed, diff = run(target(tmp_path))
    path = tmp_path / "store" / "tls.key"
    assert changed and path.read_bytes() == unwrap.pem(ec_key("one")) and path.stat().st_mode & 0o777 == 0o600
    assert deliver.check(target(tmp_path)).facts() == {
        "deliver_to": "systemd_credential", "dest": str(path), "credential_name": "tls.key", "credential_encryption": "none",
    }  # fmt: skip
    assert not run(target(tmp_path))[0]
    changed, diff = run(target(tmp_path), TWO)
    assert changed and diff["before"]["public_key_sha256"] == ONE.public_key_sha256


def test_the_default_stores() -> None:
    plain = deliver.check(deliver.Target(deliver_to="systemd_credential", credential_name="a"))
    assert plain.dest == "/run/credstore/a"
    if CREDS:
        other = deliver.Target(deliver_to="systemd_credential", credential_name="a", credential_encryption="auto")
        assert deliver.check(other).dest == "/run/credstore.encrypted/a"


def test_a_plain_one_on_a_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "file_system", lambda _path: ("ext4", "/"))
    with refused("not_memory_backed") as info:
        deliver.check(target(tmp_path))
    assert info.value.facts["file_system"] == "ext4" and not (tmp_path / "store").exists()


# --- encrypted


@needs_systemd
def test_an_encrypted_credential_may_be_on_a_disk(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "file_system", lambda _path: ("ext4", "/"))
    changed, diff = run(sealed(tmp_path))
    path = tmp_path / "store" / "tls.key"
    assert changed and b"PRIVATE" not in path.read_bytes() and path.stat().st_mode & 0o777 == 0o600
    environment = {**os.environ, "SYSTEMD_CREDENTIAL_SECRET": str(tmp_path / "host.secret")}
    opened = subprocess.run(
        [str(CREDS), "decrypt", "--name=tls.key", str(path), "-"], capture_output=True, env=environment, check=True
    )
    assert opened.stdout == unwrap.pem(ec_key("one"))
    before = path.read_bytes()
    again, diff = run(sealed(tmp_path))
    assert not again and diff["before"] == diff["after"] and path.read_bytes() == before
    changed, diff = run(sealed(tmp_path), TWO)
    assert changed and diff["before"]["content"] == "another" and path.read_bytes() != before
    assert not run(sealed(tmp_path), TWO)[0]


@needs_systemd
def test_check_mode_foretells_and_touches_nothing(tmp_path: Path, programs: Programs) -> None:
    foretold = run(sealed(tmp_path), check_mode=True)
    assert foretold[0] and not (tmp_path / "store").exists()
    assert run(sealed(tmp_path)) == foretold and not run(sealed(tmp_path), check_mode=True)[0]
    assert run(sealed(tmp_path), TWO, check_mode=True)[0] and not run(sealed(tmp_path))[0]


@needs_systemd
def test_another_mode_is_put_right_without_another_encryption(tmp_path: Path, programs: Programs) -> None:
    run(sealed(tmp_path))
    path = tmp_path / "store" / "tls.key"
    before = path.read_bytes()
    path.chmod(0o644)
    changed, diff = run(sealed(tmp_path))
    assert changed and diff["before"]["mode"] == "0644" and path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == before


@needs_systemd
@pytest.mark.parametrize("name", ["foreign", "tampered", "plain"])
def test_what_cannot_be_opened_is_replaced(tmp_path: Path, programs: Programs, name: str) -> None:
    path = tmp_path / "store" / "tls.key"
    run(sealed(tmp_path))
    if name == "foreign":
        (tmp_path / "host.secret").unlink()
    else:
        path.write_bytes(b"plain text" if name == "plain" else path.read_bytes()[:-20] + b"A" * 20)
    changed, diff = run(sealed(tmp_path))
    assert changed and diff["before"]["content"] == "another" and not run(sealed(tmp_path))[0]


@needs_systemd
def test_no_secret_shows_in_the_process_list(tmp_path: Path, programs: Programs) -> None:
    key = secrets.token_hex(16).encode()
    for made in (material.secret(key), material.Material("oct", key)):
        run(sealed(tmp_path), made)
        run(sealed(tmp_path), made)
    shown, lines = programs.shown(), programs.lines()
    assert {line[0] for line in lines} == {"encrypt", "decrypt"} and len(lines) >= 3
    for form in (key, key.hex().encode(), base64.b64encode(key)):
        assert form not in shown


@needs_systemd
def test_a_key_that_the_machine_does_not_have(tmp_path: Path, programs: Programs) -> None:
    """Not every machine has a TPM that systemd can use."""
    try:
        assert run(target(tmp_path, credential_encryption="tpm2"))[0]
    except deliver.SkrFailure as failure:
        assert failure.reason == "command_failed" and "tpm2" in failure.message
        assert not (tmp_path / "store").exists()


# --- failures


@pytest.mark.parametrize("text", ["exit 1", "exit 0"])
def test_an_encryption_that_fails_leaves_the_old_one(tmp_path: Path, programs: Programs, text: str) -> None:
    path = tmp_path / "store" / "tls.key"
    path.parent.mkdir()
    path.write_bytes(b"old")
    programs.write("systemd-creds", text)
    with refused("command_failed"):
        run(sealed(tmp_path))
    assert path.read_bytes() == b"old" and os.listdir(path.parent) == ["tls.key"]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store" / "tls.key"
    path.parent.mkdir()
    path.write_bytes(b"old")
    programs.write("systemd-creds", '[ "$1" = encrypt ] && cat')

    def full(*_words: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with refused("delivery_failed") as info:
        run(sealed(tmp_path))
    assert (
        "No space left" in info.value.message and path.read_bytes() == b"old" and os.listdir(path.parent) == ["tls.key"]
    )


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        deliver.credential, "program", lambda name, package: deliver.common.program(f"no-{name}", package)
    )
    with refused("program_missing") as info:
        deliver.check(sealed(tmp_path))
    assert "systemd" in info.value.facts["package"]
    assert deliver.check(target(tmp_path)) and deliver.check(sealed(tmp_path), removal=True)


def test_too_large_a_secret(tmp_path: Path) -> None:
    with refused("delivery_failed"):
        run(target(tmp_path), material.secret(bytes((1 << 20) + 1)))
    assert run(target(tmp_path), material.secret(bytes(1 << 20)))[0]


def test_removal(tmp_path: Path) -> None:
    run(target(tmp_path))
    place = deliver.check(target(tmp_path), removal=True)
    assert place.remove(check_mode=True)[0] and place.remove()[0] and not place.remove()[0]
    assert os.listdir(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        *[
            ({"credential_name": name}, "credential_name")
            for name in (None, "", "a/b", "..", ".hidden", "a:b", "x" * 256, "ä")
        ],
        ({"credential_encryption": "tpm"}, "credential_encryption"),
        ({"credential_store": "store"}, "credential_store"),
        ({"dest": "/run/app.pem"}, "dest"),
        ({"owner": "root"}, "owner"),
        ({"keyring": "user"}, "keyring"),
    ],
)
def test_options_that_cannot_work(tmp_path: Path, changes: t.Dict[str, t.Any], option: str) -> None:
    with refused("invalid_input") as info:
        deliver.check(target(tmp_path, **changes))
    assert info.value.facts["option"] == option


def test_a_link_in_the_store_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tls.key").symlink_to(tmp_path / "elsewhere")
    with refused("invalid_input"):
        deliver.check(target(tmp_path))


def test_the_diff_is_public(tmp_path: Path) -> None:
    shown = json.dumps(
        [run(target(tmp_path), made) for made in (material.secret(b"sentinel-1"), material.secret(b"sentinel-2"))]
    )
    assert "sentinel" not in shown and '"another"' in shown
