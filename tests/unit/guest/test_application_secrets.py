# SPDX-License-Identifier: GPL-3.0-or-later
"""Application secrets from option to place: all envelopes open or nothing is delivered, and nothing shows."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from unit.guest.release_fakes import b64u, ec_key, refused, rsa_key
from unit.guest.test_envelope import public_pem, sha256, written

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import (
    application_secrets,
    attest,
    deliver,
    envelope,
    material,
    release,
    unwrap,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.commands import unwrap_secret, wrap_secret

KEY = rsa_key("released")
GUEST, WANTED = (
    attest.Guest("https://sharedweu.weu.attest.azure.net"),
    release.Wanted("https://v.vault.azure.net", "app"),
)
COLLECTIONS = Path(__file__).resolve().parents[3] / ".collections"


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> t.List[material.Material]:
    """What the vault releases; the release itself is tested elsewhere."""
    keys = [material.Material("RSA", private=KEY)]

    def perform(guest: t.Any, wanted: t.Any, prepare: t.Callable[[], release.HandOver]) -> t.Dict[str, t.Any]:
        hand_over = prepare()
        asked.append((guest, wanted))
        return {**hand_over(keys[0]), "kid": "k"}

    asked: t.List[t.Any] = []
    monkeypatch.setattr(release, "perform", perform)
    keys_asked[:] = [asked]
    return keys


keys_asked: t.List[t.List[t.Any]] = []


def entry(folder: Path, label: str = "one", secret: bytes = b"secret-one", **changes: t.Any) -> t.Dict[str, t.Any]:
    made: t.Dict[str, t.Any] = {"envelope": written(secret=secret, header={"name": label})}
    return {**made, "dest": str(folder / label), "memory_backed": False, **changes}


def run(*entries: t.Dict[str, t.Any], check_mode: bool = False) -> t.Dict[str, t.Any]:
    return application_secrets.unwrap(GUEST, WANTED, application_secrets.secrets(entries), check_mode)


def test_several_secrets_with_one_release(released: t.Any, tmp_path: Path) -> None:
    two = entry(tmp_path, "two", b"\0two\n", format="base64", mode="0440", name="two")
    foretold = run(entry(tmp_path), two, check_mode=True)
    assert foretold["changed"] and not list(tmp_path.iterdir())
    result = run(entry(tmp_path), two)
    assert (tmp_path / "one").read_bytes() == b"secret-one" and (tmp_path / "two").read_bytes() == b"AHR3bwo="
    assert [(one["name"], one["changed"], one["delivered"]["dest"]) for one in result["secrets"]] == [
        ("one", True, str(tmp_path / "one")), ("two", True, str(tmp_path / "two")),
    ]  # fmt: skip
    assert result["diff"] == foretold["diff"] and len(keys_asked[0]) == 2
    shown = json.dumps(result)
    assert "secret-one" not in shown and "AHR3bwo" not in shown
    again = run(entry(tmp_path), two)
    assert not again["changed"] and again["diff"]["before"] == again["diff"]["after"]
    changed = run(entry(tmp_path, secret=b"new"), two)
    assert [one["changed"] for one in changed["secrets"]] == [True, False] and changed["changed"]


def test_envelopes_as_text_and_from_files(released: t.Any, tmp_path: Path) -> None:
    text = json.dumps(written(secret=b"text"))
    (tmp_path / "file").write_text(json.dumps(written(secret=b"file")))
    run(
        {"envelope": text, "dest": str(tmp_path / "a"), "memory_backed": False},
        {"envelope_file": str(tmp_path / "file"), "dest": str(tmp_path / "b"), "memory_backed": False},
    )
    assert (tmp_path / "a").read_bytes() == b"text" and (tmp_path / "b").read_bytes() == b"file"


def test_nothing_is_delivered_unless_all_open(released: t.Any, tmp_path: Path) -> None:
    bad = entry(tmp_path, "two")
    bad["envelope"]["tag"] = b64u(bytes(16))
    with refused("secret_envelope_invalid") as info:
        run(entry(tmp_path), bad)
    assert info.value.message.startswith("secrets[1] ") and not list(tmp_path.iterdir())


def test_a_delivery_that_fails_tells_what_was_changed_before(released: t.Any, tmp_path: Path) -> None:
    with refused("delivery_failed") as info:
        run(entry(tmp_path), entry(tmp_path, "two", dest=str(tmp_path / "one" / "below")))
    assert info.value.changed and info.value.facts["secret"] == "secrets[1]" and (tmp_path / "one").exists()


def test_all_secrets_are_wiped(released: t.Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: t.List[bytearray] = []
    real = unwrap.wipe
    monkeypatch.setattr(
        unwrap, "wipe", lambda *buffers: (wiped.extend(bytearray(one) for one in buffers), real(*buffers))
    )
    run(entry(tmp_path), entry(tmp_path, "two", b"secret-two"))
    assert bytearray(b"secret-one") in wiped and bytearray(b"secret-two") in wiped


@pytest.mark.parametrize("key", [material.Material("EC", private=ec_key("one")), material.Material("oct", bytes(32))])
def test_keys_that_cannot_wrap(released: t.List[material.Material], tmp_path: Path, key: material.Material) -> None:
    released[0] = key
    with refused("key_cannot_wrap") as info:
        run(entry(tmp_path))
    assert info.value.facts == {"kind": key.kind} and not list(tmp_path.iterdir())


def test_a_rotated_key(released: t.List[material.Material], tmp_path: Path) -> None:
    released[0] = material.Material("RSA", private=rsa_key("rotated"))
    with refused("secret_envelope_key") as info:
        run(entry(tmp_path))
    assert info.value.facts["wanted"] == sha256(KEY)


@pytest.mark.parametrize(
    ("changes", "reason", "word"),
    [
        ({"envelope": None}, "invalid_input", "secrets[0].envelope"),
        ({"envelope_file": "/no/such/file"}, "invalid_input", "secrets[0].envelope"),
        ({"envelope": None, "envelope_file": "/no/such/file"}, "invalid_input", "secrets[0].envelope_file"),
        ({"envelope": 5}, "invalid_input", "secrets[0].envelope"),
        ({"envelope": "text"}, "secret_envelope_invalid", "secrets[0]"),
        ({"name": "another"}, "secret_envelope_invalid", "'another'"),
        ({"dest": None}, "invalid_input", "dest"),
        ({"mode": "0644"}, "invalid_input", "mode"),
        ({"deliver_to": "luks"}, "invalid_input", "dest"),
    ],
)
def test_nobody_is_asked_when_an_entry_cannot_work(
    released: t.Any, tmp_path: Path, changes: t.Dict[str, t.Any], reason: str, word: str
) -> None:
    with refused(reason) as info:
        run(entry(tmp_path, **changes))
    assert word in info.value.message and keys_asked[0] == []


def test_no_secret_at_all_and_two_for_one_place(released: t.Any, tmp_path: Path) -> None:
    with refused("invalid_input"):
        run()
    with refused("invalid_input") as info:
        run(entry(tmp_path), entry(tmp_path))
    assert "secrets[1]" in info.value.message and keys_asked[0] == []


# --- commands


class Standard:
    """Stands for standard input."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def parsed(command: t.Any, *words: str) -> t.Dict[str, t.Any]:
    parser = argparse.ArgumentParser(prog=command.NAME)
    command.add(parser)
    return vars(parser.parse_args(words))


def test_wrapping_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pem").write_text(public_pem(KEY))
    for more, given, secret in (
        ((), b"a\n", b"a\n"),
        (("--strip-newline",), b"a\n", b"a"),
        (("--strip-newline",), b"a\r\n", b"a"),
        (("--strip-newline", "--secret-name", "database"), b"a\n\n", b"a\n"),
    ):
        monkeypatch.setattr(sys, "stdin", Standard(given))
        status, text = wrap_secret.run(parsed(wrap_secret, "--public-key", str(tmp_path / "key.pem"), *more))
        found = envelope.parse(text)
        assert status == 0 and envelope.unwrap(found, KEY) == secret
        assert found.name == ("database" if "database" in more else None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "invalid_input"), ("text", "invalid_input"), (public_pem(ec_key("one")), "key_cannot_wrap")],
)
def test_wrapping_for_what_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: t.Optional[str], reason: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # is not read before the key is known to be good
    if content is not None:
        (tmp_path / "key.pem").write_text(content)
    with refused(reason):
        wrap_secret.run(parsed(wrap_secret, "--public-key", str(tmp_path / "key.pem")))


def test_unwrapping_by_command(released: t.Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.json").write_text('{"version": "1.0.0"}')
    words = [
        "--attestation-url", "https://sharedweu.weu.attest.azure.net", "--vault-uri", "https://v.vault.azure.net", "--key-name", "app",
        "--envelope-file", "-", "--dest", str(tmp_path / "one"), "--no-memory-backed", "--mode", "0440",
        "--release-policy", str(tmp_path / "policy.json"), "--known-client-ids", "a", "--known-client-ids", "b",
    ]  # fmt: skip
    for more, line in ((["--check"], "would be delivered"), ([], "delivered"), ([], "unchanged")):
        monkeypatch.setattr(
            sys, "stdin", Standard(json.dumps(written(secret=b"sentinel", header={"name": "one"})).encode())
        )
        status, text = unwrap_secret.run(parsed(unwrap_secret, *words, *more))
        assert status == 0 and text == f"one: {line} (deliver_to file, dest {tmp_path / 'one'})"
    guest, wanted = keys_asked[0][0]
    assert wanted.identity.known == ("a", "b")
    assert guest == attest.Guest("https://sharedweu.weu.attest.azure.net") and wanted.release_policy == {
        "version": "1.0.0"
    }
    assert (tmp_path / "one").read_bytes() == b"sentinel" and (tmp_path / "one").stat().st_mode & 0o777 == 0o440
    (tmp_path / "envelope").write_text(json.dumps(written(secret=b"sentinel")))
    words[7] = str(tmp_path / "envelope")
    status, text = unwrap_secret.run(parsed(unwrap_secret, *words, "--json"))
    assert json.loads(text)["secrets"][0]["delivered"]["dest"] == str(tmp_path / "one") and "sentinel" not in text


def test_unwrapping_wants_a_vault_and_the_right_name(
    released: t.Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envelope").write_text(json.dumps(written(header={"name": "one"})))
    words = [
        "--attestation-url",
        "https://a.example",
        "--key-name",
        "app",
        "--envelope-file",
        str(tmp_path / "envelope"),
        "--dest",
        str(tmp_path / "s"),
    ]
    with refused("invalid_input") as info:
        unwrap_secret.run(parsed(unwrap_secret, *words))
    assert info.value.facts == {"option": "vault_uri"}
    with refused("secret_envelope_invalid"):
        unwrap_secret.run(
            parsed(unwrap_secret, *words, "--hsm-uri", "https://h.managedhsm.azure.net", "--secret-name", "two")
        )
    with refused("invalid_input") as info:
        unwrap_secret.run(
            parsed(
                unwrap_secret,
                *words,
                "--hsm-uri",
                "https://h.managedhsm.azure.net",
                "--release-policy",
                str(tmp_path / "none"),
            )
        )
    assert info.value.facts == {"option": "release_policy"} and keys_asked[0] == []


def test_each_delivery_option_has_a_flag() -> None:
    options = parsed(
        unwrap_secret,
        "--attestation-url",
        "a",
        "--key-name",
        "k",
        "--envelope-file",
        "e",
        "--command",
        "/bin/cat",
        "--command",
        "-",
    )
    assert options["option_command"] == ["/bin/cat", "-"]
    names = {f"option_{field}" for field in deliver.Target.__dataclass_fields__} - {"option_on_change"}
    assert names <= set(options)


# --- the modules


def module(module_name: str, /, **options: t.Any) -> t.Dict[str, t.Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"ansible_collections.confidential.azure_skr.plugins.modules.{module_name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": options}), capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return t.cast("t.Dict[str, t.Any]", json.loads(done.stdout))


def test_the_wrapping_module(tmp_path: Path) -> None:
    made = module(
        "secret_wrap",
        public_key=public_pem(KEY),
        secret="sentinel-of-a-secret",
        name="database",
        dest=str(tmp_path / "e"),
    )
    assert made["changed"] and "sentinel" not in json.dumps(made)
    assert envelope.unwrap(envelope.parse((tmp_path / "e").read_text()), KEY) == b"sentinel-of-a-secret"
    assert envelope.parse(made["envelope"]).name == "database"
    refusal = module("secret_wrap", public_key=public_pem(ec_key("one")), secret="sentinel-of-a-secret")
    assert refusal["reason"] == "key_cannot_wrap" and "sentinel" not in json.dumps(refusal)


def test_the_removing_module(tmp_path: Path) -> None:
    (tmp_path / "app.pem").write_bytes(b"key")
    planned = module("key_removal", dest=str(tmp_path / "app.pem"), _ansible_check_mode=True)
    assert planned["changed"] and (tmp_path / "app.pem").exists()
    done = module("key_removal", dest=str(tmp_path / "app.pem"), _ansible_diff=True)
    assert done["changed"] and done["diff"]["after"]["exists"] is False and not (tmp_path / "app.pem").exists()
    assert done["removed"] == {"deliver_to": "file", "dest": str(tmp_path / "app.pem")}
    assert module("key_removal", dest=str(tmp_path / "app.pem"))["changed"] is False
    assert module("key_removal", deliver_to="luks", luks_device="/no/such/device")["reason"] == "invalid_input"
