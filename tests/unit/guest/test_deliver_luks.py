# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to LUKS volumes in files, with the real cryptsetup; it is watched, and made to fail."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import typing as t
from pathlib import Path

import pytest
from unit.guest.program_fakes import Programs, found
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, material
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import keyctl, keyring

CRYPTSETUP = found("cryptsetup")
pytestmark = pytest.mark.skipif(CRYPTSETUP is None, reason="cryptsetup is not installed")
FAST = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")
KEY, ROTATED = bytes(range(32)), bytes(range(100, 132))


def cryptsetup(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(CRYPTSETUP), *words], input=given, capture_output=True, check=False)


class Volume:
    """A file with a LUKS header and one passphrase, which is in a file beside it."""

    def __init__(self, folder: Path, version: int) -> None:
        self.version = version
        self.device, self.existing = folder / "volume", folder / "existing"
        self.passphrase = secrets.token_bytes(24)
        self.existing.write_bytes(self.passphrase)
        with self.device.open("wb") as stream:
            stream.truncate(20 << 20)
        kind = f"--type=luks{version}"
        done = cryptsetup("luksFormat", "-q", kind, *FAST, str(self.device), "-", given=self.passphrase)
        assert done.returncode == 0, done.stderr

    def opens(self, passphrase: bytes, slot: t.Optional[int] = None) -> bool:
        words = [] if slot is None else [f"--key-slot={slot}"]
        test = ("open", "--test-passphrase", "--key-file=-", *words, str(self.device))
        return cryptsetup(*test, given=passphrase).returncode == 0

    def target(self, **changes: t.Any) -> deliver.Target:
        options = {"luks_device": str(self.device), "luks_existing_key_file": str(self.existing), **changes}
        return deliver.Target(deliver_to="luks", memory_backed=False, **options)

    def run(
        self, octets: bytes = KEY, check_mode: bool = False, kind: str = "oct", **changes: t.Any
    ) -> t.Tuple[bool, t.Any]:
        return deliver.check(self.target(**changes)).deliver(material.Material(kind, octets), check_mode)


@pytest.fixture(params=[1, 2])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    return Volume(tmp_path, request.param)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{made.folder}:/usr/bin:/bin")
    return made


# --- AC-23


def test_a_slot_is_added_once(volume: Volume) -> None:
    changed, diff = volume.run()
    assert changed and diff["before"]["slots"] == [0] and diff["after"]["slots"] == [0, 1]
    assert (diff["before"]["luks_slot"], diff["after"]["luks_slot"]) == (None, 1)
    assert volume.opens(KEY, 1) and volume.opens(volume.passphrase, 0)
    header = volume.device.read_bytes()
    changed, diff = volume.run(luks_existing_key_file=None)  # nothing is to be added, so nothing has to open it
    assert not changed and diff["before"] == diff["after"] and volume.device.read_bytes() == header


def test_a_chosen_slot(volume: Volume) -> None:
    assert volume.run(luks_slot=5)[1]["after"]["luks_slot"] == 5
    assert volume.opens(KEY, 5) and not volume.opens(KEY, 1)
    assert not volume.run(luks_slot=5)[0]
    assert volume.run(luks_slot=3)[0] and volume.opens(KEY, 3) and volume.opens(KEY, 5)


def test_another_passphrase_in_the_slot_is_not_lost(volume: Volume) -> None:
    header = volume.device.read_bytes()
    with refused("luks_slot_taken") as info:
        volume.run(luks_slot=0)
    assert info.value.facts["luks_slot"] == 0 and volume.device.read_bytes() == header


def test_a_rotated_key_takes_the_place_of_the_old_one(volume: Volume) -> None:
    volume.run(luks_slot=1)
    with refused("luks_slot_taken"):
        volume.run(ROTATED, luks_slot=1)
    changed, diff = volume.run(ROTATED, luks_slot=1, luks_replace=True)
    assert changed and diff["before"]["slots"] == diff["after"]["slots"] == [0, 1]
    assert volume.opens(ROTATED, 1) and not volume.opens(KEY) and volume.opens(volume.passphrase, 0)
    assert not volume.run(ROTATED, luks_slot=1, luks_replace=True)[0]
    assert "ENABLED" in str(cryptsetup("luksDump", str(volume.device)).stdout) or volume.version == 2


def test_check_mode_foretells_and_touches_nothing(volume: Volume) -> None:
    header = volume.device.read_bytes()
    foretold = volume.run(check_mode=True)
    assert foretold[0] and volume.device.read_bytes() == header
    assert volume.run() == foretold and not volume.run(check_mode=True)[0]
    volume.existing.write_bytes(b"not it")
    with refused("luks_refused"):  # what would fail fails in check mode too
        volume.run(ROTATED, check_mode=True)


def test_a_secret_is_stretched_and_a_random_key_is_not(volume: Volume) -> None:
    volume.run(b"correct horse", kind="secret")
    text = cryptsetup("luksDump", str(volume.device)).stdout.decode()
    if volume.version == 2:
        assert "argon2id" in text
    else:
        assert any(int(line.split()[-1]) > 1000 for line in text.split("Key Slot 1")[1].splitlines()[1:2])


def test_any_byte_counts(volume: Volume) -> None:
    """A newline, a zero byte, and bytes that are no text are part of a passphrase."""
    odd = b"\n\0\xff\x80a\r\n\0" * 4 + b"\n"
    assert volume.run(odd)[0] and volume.opens(odd) and not volume.opens(odd[:-1]) and not volume.run(odd)[0]


def test_base64_for_consumers_that_take_text(volume: Volume) -> None:
    assert volume.run(format="base64")[0] and volume.opens(base64.b64encode(KEY))


def test_a_detached_header(tmp_path: Path) -> None:
    data, header, existing = tmp_path / "data", tmp_path / "header", tmp_path / "existing"
    existing.write_bytes(b"old")
    data.write_bytes(bytes(1 << 20))
    header.write_bytes(bytes(20 << 20))
    done = cryptsetup("luksFormat", "-q", *FAST, f"--header={header}", str(data), "-", given=b"old")
    assert done.returncode == 0, done.stderr
    options: t.Dict[str, t.Any] = {"luks_device": str(data), "luks_header": str(header)}
    target = deliver.Target(deliver_to="luks", memory_backed=False, luks_existing_key_file=str(existing), **options)
    made = material.Material("oct", KEY)
    assert deliver.check(target).deliver(made)[0] and not deliver.check(target).deliver(made)[0]
    test = ("open", "--test-passphrase", "--key-file=-", f"--header={header}", str(data))
    assert cryptsetup(*test, given=KEY).returncode == 0 and data.read_bytes() == bytes(1 << 20)


def test_the_existing_passphrase_from_the_keyring(volume: Volume) -> None:
    name = f"skr-test:{secrets.token_hex(8)}"
    try:
        keyctl.Keys().probe()
    except deliver.SkrFailure:
        pytest.skip("this kernel or container offers no keyrings")
    put = deliver.check(deliver.Target(deliver_to="keyring", keyring_description=name))
    put.deliver(material.secret(volume.passphrase))
    try:
        assert volume.run(luks_existing_key_file=None, luks_existing_keyring=name)[0] and volume.opens(KEY)
    finally:
        put.remove()
    with refused("invalid_input") as info:
        keyring.read(name)
    assert info.value.facts == {"option": "luks_existing_keyring"}


def test_a_token_of_the_header_proves_nothing(tmp_path: Path) -> None:
    """A header may say where in the keyring its passphrase is; cryptsetup then opens it whatever it is given."""
    volume = Volume(tmp_path, 2)
    name = f"skr-test:{secrets.token_hex(8)}"
    put = deliver.check(deliver.Target(deliver_to="keyring", keyring_description=name))
    put.deliver(material.secret(volume.passphrase))
    try:
        made = cryptsetup("token", "add", f"--key-description={name}", "--key-slot=0", str(volume.device))
        assert made.returncode == 0, made.stderr
        changed, diff = volume.run()
        assert changed and diff["before"]["luks_slot"] is None and volume.opens(KEY, 1)
    finally:
        put.remove()


# --- opening


def test_the_volume_is_opened_where_the_kernel_can(volume: Volume) -> None:
    name = f"skr-test-{secrets.token_hex(4)}"
    if "device-mapper" not in Path("/proc/misc").read_text():
        with refused("luks_refused") as info:
            volume.run(luks_name=name)
        assert "open the volume" in info.value.message and info.value.changed and volume.opens(KEY, 1)
        return
    try:
        changed, diff = volume.run(luks_name=name)
        assert changed and (diff["before"]["open"], diff["after"]["open"]) == (False, True)
        assert os.path.exists(f"/dev/mapper/{name}") and not volume.run(luks_name=name)[0]
    finally:
        cryptsetup("close", name)


STATUS = "/dev/mapper/data is active.\n  type:    LUKS2\n  device:  {device}\n  loop:    {loop}\n"


def test_an_open_volume_is_left_open_and_a_foreign_one_is_told(volume: Volume, programs: Programs) -> None:
    answer = programs.folder / "status"
    programs.spy("cryptsetup", f'case "$1" in status) cat {answer}; exit 0;; esac')
    answer.write_text(STATUS.format(device="/dev/loop0", loop=volume.device))
    changed, diff = volume.run(luks_name="data")
    assert changed and diff["before"]["open"] is True and not volume.run(luks_name="data")[0]
    answer.write_text(STATUS.format(device="/dev/sdz", loop="/elsewhere"))
    with refused("luks_refused") as info:
        volume.run(luks_name="data")
    assert "/dev/sdz" in info.value.message and str(volume.device) in info.value.message


def test_it_is_opened_with_the_key_on_standard_input(volume: Volume, programs: Programs) -> None:
    given, opened = programs.folder / "given", programs.folder / "opened"
    programs.spy(
        "cryptsetup",
        f'case "$1 $2" in status*) [ -e {opened} ] && echo "  device:  {volume.device}"; exit $(( 4 - 4 * $(test -e {opened}; echo $((1 - $?))) ));; '
        f'"open --token"*) cat >{given}; touch {opened}; exit 0;; esac',
    )
    changed, diff = volume.run(luks_name="data")
    assert changed and diff["after"]["open"] is True and given.read_bytes() == KEY
    assert not volume.run(luks_name="data")[0]
    assert ["open", "--token-type=none", "--key-file=-", str(volume.device), "data"] in programs.lines()


# --- removal


def test_a_slot_is_removed_where_another_stays(volume: Volume) -> None:
    volume.run(luks_slot=1)
    place = deliver.check(volume.target(luks_slot=1), removal=True)
    assert place.remove(check_mode=True)[0] and volume.opens(KEY)
    changed, diff = place.remove()
    assert changed and (diff["before"]["slots"], diff["after"]["slots"]) == ([0, 1], [0])
    assert not volume.opens(KEY) and volume.opens(volume.passphrase) and not place.remove()[0]


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_last_slot_stays(volume: Volume, check_mode: bool) -> None:
    with refused("luks_last_slot"):
        deliver.check(volume.target(luks_slot=0), removal=True).remove(check_mode)
    assert volume.opens(volume.passphrase)


def test_a_slot_that_opens_nothing_does_not_count(tmp_path: Path) -> None:
    """LUKS2 may have slots that are bound to no data."""
    volume = Volume(tmp_path, 2)
    words = ("luksAddKey", "-q", *FAST, "--unbound", "--key-size=256", "--key-slot=4", str(volume.device), "-")
    assert cryptsetup(*words, given=b"unbound").returncode == 0
    with refused("luks_last_slot"):
        deliver.check(volume.target(luks_slot=0), removal=True).remove()
    with refused("luks_slot_taken"):
        volume.run(luks_slot=4)
    assert volume.run()[1]["after"]["slots"] == [0, 1]


# --- secrets


def test_no_secret_shows_in_the_process_list(
    volume: Volume, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTINEL", "of the caller's environment")
    programs.spy("cryptsetup")
    key = secrets.token_hex(16).encode()
    volume.passphrase = volume.passphrase.hex().encode()
    volume.run(luks_slot=1)
    volume.run(key, luks_slot=1, luks_replace=True)
    shown, lines = programs.shown(), programs.lines()
    assert [line[0] for line in lines].count("luksAddKey") == 3 and b"LC_ALL=C" in shown
    for secret in (key, KEY, volume.existing.read_bytes()):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in shown
    assert b"SENTINEL" not in shown
    assert all(
        word == "-" or word.startswith(("-", "/", "luks", "open", "status")) or word.isdigit()
        for line in lines
        for word in line
    )


def test_the_failure_and_the_diff_are_public(volume: Volume) -> None:
    key = b"sentinel-" + secrets.token_hex(12).encode()
    shown = json.dumps(volume.run(key))
    volume.existing.write_bytes(b"sentinel-wrong")
    with refused("luks_refused") as info:
        volume.run(b"sentinel-other")
    assert "sentinel" not in shown + json.dumps(info.value.as_result())


# --- failures


def test_an_existing_passphrase_that_opens_nothing(volume: Volume) -> None:
    header = volume.device.read_bytes()
    volume.existing.write_bytes(volume.passphrase + b"\n")
    with refused("luks_refused") as info:
        volume.run()
    assert "newline" in info.value.message and not info.value.changed and volume.device.read_bytes() == header


@pytest.mark.parametrize("at", ["luksAddKey", "luksKillSlot"])
@pytest.mark.parametrize("status", [1, 3, 5])
def test_whatever_is_refused_the_volume_still_opens(volume: Volume, programs: Programs, at: str, status: int) -> None:
    volume.run(luks_slot=1)
    programs.spy("cryptsetup", f'[ "$1" = {at} ] && exit {status}')
    with refused("luks_refused") as info:
        volume.run(ROTATED, luks_slot=1, luks_replace=True)
    assert info.value.facts["status"] == status and info.value.changed is (at == "luksKillSlot")
    assert volume.opens(KEY, 1) and volume.opens(volume.passphrase, 0)


@pytest.mark.parametrize("stop", ["second luksAddKey", "second luksKillSlot"])
def test_an_exchange_that_ends_half_way_converges(volume: Volume, programs: Programs, stop: str) -> None:
    """Old or new secret opens the volume at every moment, and the next run brings it to what was wanted."""
    volume.run(luks_slot=1)
    mark, action = programs.folder / "mark", stop.split()[1]
    programs.spy("cryptsetup", f'[ "$1" = {action} ] && {{ [ -e {mark} ] && exit 1; touch {mark}; }}')
    with refused("luks_refused") as info:
        volume.run(ROTATED, luks_slot=1, luks_replace=True)
    assert info.value.changed and volume.opens(ROTATED) and volume.opens(volume.passphrase)
    assert info.value.facts["spare_slot"] == 2 and volume.opens(ROTATED, 2) and "slot 2" in info.value.message
    mark.unlink()
    programs.spy("cryptsetup")
    volume.run(ROTATED, luks_slot=1, luks_replace=True)
    assert volume.opens(ROTATED, 1) and not volume.opens(KEY)


def test_no_free_slot(tmp_path: Path) -> None:
    volume = Volume(tmp_path, 1)
    for number in range(7):
        words = ("luksAddKey", "-q", *FAST, f"--key-file={volume.existing}", str(volume.device), "-")
        assert cryptsetup(*words, given=b"%d" % number).returncode == 0
    for options in ({}, {"luks_slot": 1, "luks_replace": True}):
        with refused("luks_slot_taken"):
            volume.run(**options)
    assert volume.opens(b"0", 1)


def test_what_is_no_volume(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    with refused("luks_refused") as info:
        target = deliver.Target(deliver_to="luks", luks_device=str(tmp_path / "file"))
        deliver.check(target).deliver(material.Material("oct", KEY))
    assert "no LUKS volume" in info.value.message


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(tmp_path, 2)
    monkeypatch.setattr(deliver.luks, "program", lambda name, package: deliver.common.program(f"no-{name}", package))
    with refused("program_missing") as info:
        deliver.check(volume.target())
    assert "cryptsetup" in info.value.message and info.value.facts["package"].startswith("cryptsetup")


def test_private_keys_are_no_passphrases(volume: Volume) -> None:
    with refused("invalid_input") as info:
        deliver.check(volume.target()).deliver(material.Material("EC", private=ec_key("one")))
    assert info.value.facts == {"option": "deliver_to", "kind": "EC"} and "secret_unwrap" in info.value.next_step


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"luks_device": None}, "luks_device"),
        ({"luks_device": "volume"}, "luks_device"),
        ({"luks_device": "/dev/no-such-volume"}, "luks_device"),
        ({"luks_header": "/dev/no-such-header"}, "luks_header"),
        ({"luks_slot": -1}, "luks_slot"),
        ({"luks_slot": 32}, "luks_slot"),
        ({"luks_replace": True}, "luks_replace"),
        ({"luks_name": "a/b"}, "luks_name"),
        ({"luks_existing_key_file": "/no/such/file"}, "luks_existing_key_file"),
        ({"luks_existing_keyring": "one"}, "luks_existing_keyring"),
        ({"ttl": 60}, "ttl"),
        ({"format": "pkcs8"}, "format"),
    ],
)
def test_options_that_cannot_work(tmp_path: Path, changes: t.Dict[str, t.Any], option: str) -> None:
    volume = Volume(tmp_path, 2)
    with refused("invalid_input") as info:
        deliver.check(volume.target(**changes))
    assert info.value.facts["option"] == option


def test_options_that_the_volume_refuses(tmp_path: Path) -> None:
    volume = Volume(tmp_path, 1)
    for changes, option in (
        ({"luks_slot": 8}, "luks_slot"),
        ({"luks_existing_key_file": None}, "luks_existing_key_file"),
    ):
        with refused("invalid_input") as info:
            volume.run(**changes)
        assert info.value.facts["option"] == option
    with refused("invalid_input") as info:
        deliver.check(volume.target(), removal=True)
    assert info.value.facts["option"] == "luks_slot"


def test_a_passphrase_on_a_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(tmp_path, 2)
    monkeypatch.setattr(deliver.files, "file_system", lambda _path: ("ext4", "/"))
    with refused("not_memory_backed") as info, contextlib.ExitStack():
        deliver.check(
            deliver.Target(
                deliver_to="luks", luks_device=str(volume.device), luks_existing_key_file=str(volume.existing)
            )
        )
    assert info.value.facts["luks_existing_key_file"] == str(volume.existing)
