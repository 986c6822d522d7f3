# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivery to the kernel's keyrings: for real where the kernel has them, and what each refusal of a syscall becomes."""

from __future__ import annotations

import errno
import json
import os
import secrets
import subprocess
import sys
import time
import typing as t

import pytest
from unit.guest.release_fakes import ec_key, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, material
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.deliver import keyctl, keyring, lifetime

USER = 4711


def available() -> bool:
    try:
        keyctl.Keys().probe()
    except Exception:
        return False
    return True


needs_keyrings = pytest.mark.skipif(not available(), reason="this kernel or container offers no keyrings")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture(autouse=True)
def notes(tmp_path: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "FOLDER", str(tmp_path / "copies"))


@pytest.fixture
def name() -> t.Iterator[str]:
    """A description that no other test uses; nothing of it is left."""
    made = f"skr-test:{secrets.token_hex(8)}"
    yield made
    if available():
        for owner in (None, str(USER)) if os.geteuid() == 0 else (None,):
            deliver.check(target(made, owner=owner), removal=True).remove()


def target(name: str, **changes: t.Any) -> deliver.Target:
    return deliver.Target(deliver_to="keyring", keyring_description=name, **changes)


def run(name: str, octets: bytes = b"s" * 32, check_mode: bool = False, **changes: t.Any) -> t.Tuple[bool, t.Any]:
    made = material.secret(octets)
    return deliver.check(target(name, **changes)).deliver(made, check_mode)


def read_as(name: str, uid: int = 0, ring: int = -4) -> t.Optional[bytes]:
    """What a process of its own finds that searches the keyring as keyctl(1) does; None where it finds nothing."""
    script = """
import ctypes, os, platform, sys
uid, ring, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
if uid:
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 250, "aarch64": 219}[platform.machine()]
long = ctypes.c_long
call = lambda *w: libc.syscall(long(number), *[long(x) if isinstance(x, int) else x for x in w])
libc.syscall.restype = long
call(1, None)  # a session of its own, without a link to anything
if ring == 0:
    ring = call(22, -1, -2)
key = call(10, ring, b"user", name, 0)
if key < 0:
    sys.exit(3)
space = ctypes.create_string_buffer(70000)
size = call(11, key, space, 70000)
sys.exit(4) if size < 0 else sys.stdout.buffer.write(space.raw[:size])
"""
    done = subprocess.run([sys.executable, "-c", script, str(uid), str(ring), name], capture_output=True, check=False)
    assert done.returncode in (0, 3, 4), done.stderr
    return done.stdout if done.returncode == 0 else None


# --- for real


@needs_keyrings
def test_new_again_and_rotated(name: str) -> None:
    changed, diff = run(name)
    assert changed and diff["before"]["exists"] is False and diff["after"]["permissions"] == "0x3f0b0000"
    assert read_as(name) == b"s" * 32
    changed, diff = run(name)
    assert not changed and diff["before"] == diff["after"]
    serial = keyring.within("user", None, lambda keys, ring: {"key": keys.find(name, ring)})
    changed, diff = run(name, b"t" * 48)
    assert changed and diff["before"]["content"] == "another" and read_as(name) == b"t" * 48
    # Whoever holds the serial number goes on with the new payload.
    assert keyring.within("user", None, lambda keys, ring: {"key": keys.find(name, ring)}) == serial


@needs_keyrings
def test_permissions_are_put_right(name: str) -> None:
    run(name)
    changed, diff = run(name, keyring_permissions="0x3f030000")
    assert changed and (diff["before"]["permissions"], diff["after"]["permissions"]) == ("0x3f0b0000", "0x3f030000")
    assert diff["before"]["content"] == "the secret" and not run(name, keyring_permissions="0x3f030000")[0]
    # A process that may not search it does not find it, and we still can: by possession.
    assert run(name, keyring_permissions="0x3f000000")[0] and not run(name, keyring_permissions="0x3f000000")[0]


@needs_keyrings
def test_check_mode_foretells_and_touches_nothing(name: str) -> None:
    foretold = run(name, check_mode=True)
    assert foretold[0] and read_as(name) is None
    assert run(name) == foretold and not run(name, check_mode=True)[0]
    assert run(name, b"other", check_mode=True)[0] and read_as(name) == b"s" * 32


@needs_keyrings
def test_a_lifetime_is_the_kernels_and_is_renewed(name: str) -> None:
    assert run(name, ttl=1)[0] and read_as(name) is not None
    assert not run(name, ttl=60)[0]
    time.sleep(1.3)
    assert read_as(name) is not None
    assert not run(name, ttl=1)[0]
    time.sleep(1.3)
    assert read_as(name) is None
    changed, diff = run(name)
    assert changed and diff["before"]["exists"] is False and read_as(name) == b"s" * 32
    assert not run(name)[0]


@needs_keyrings
@needs_root
def test_the_keyring_of_another_user(name: str) -> None:
    assert run(name, owner=str(USER))[0] and not run(name, owner=str(USER))[0]
    assert read_as(name, USER) == b"s" * 32 and read_as(name) is None
    assert os.geteuid() == 0


@needs_keyrings
def test_the_persistent_keyring(name: str) -> None:
    try:
        changed, _diff = run(name, keyring="persistent")
    except deliver.SkrFailure as failure:
        assert failure.reason == "keyring_unavailable" and "persistent" in failure.message
        pytest.skip("this kernel has no persistent keyrings")
    assert changed and not run(name, keyring="persistent")[0]
    assert read_as(name, ring=0) == b"s" * 32 and read_as(name) is None
    assert deliver.check(target(name, keyring="persistent"), removal=True).remove()[0]


@needs_keyrings
def test_the_session_keyring_is_this_processes(name: str) -> None:
    assert run(name, keyring="session")[0] and not run(name, keyring="session")[0]
    assert deliver.check(target(name, keyring="session"), removal=True).remove()[0]


@needs_keyrings
def test_removal_revokes_and_is_idempotent(name: str) -> None:
    run(name)
    place = deliver.check(target(name), removal=True)
    assert place.remove(check_mode=True)[0] and read_as(name) is not None
    changed, diff = place.remove()
    assert changed and diff["before"]["exists"] and not diff["after"]["exists"] and read_as(name) is None
    assert not place.remove()[0]


@needs_keyrings
def test_a_private_key_in_its_format(name: str) -> None:
    made = material.Material("EC", private=ec_key("one"))
    place = deliver.check(target(name, format="jwk"))
    assert place.deliver(made)[0] and json.loads(read_as(name) or b"")["crv"] == "P-256"
    assert not place.deliver(made)[0]


@needs_keyrings
@pytest.mark.parametrize("size", [0, keyctl.LARGEST + 1])
def test_a_payload_that_no_key_can_have(name: str, size: int) -> None:
    with refused("delivery_failed") as info:
        run(name, b"x" * size)
    assert str(size) in info.value.message and read_as(name) is None


@needs_keyrings
@needs_root
def test_a_full_quota_is_named_and_leaves_the_old_key(name: str) -> None:
    """A user other than root has 20,000 bytes by default."""
    with open("/proc/sys/kernel/keys/maxbytes") as stream:
        limit = int(stream.read())
    if limit > 60000:
        pytest.skip("this machine's quota cannot be used up by two keys")
    run(name, owner=str(USER))
    with refused("keyring_quota") as info:
        run(name, b"x" * min(limit, keyctl.LARGEST), owner=str(USER))
    assert info.value.facts == {"error": "EDQUOT"} and "/proc/key-users" in info.value.next_step
    assert read_as(name, USER) == b"s" * 32


# --- options


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"keyring": "thread"}, "keyring"),
        ({"keyring_description": None}, "keyring_description"),
        ({"keyring_description": ""}, "keyring_description"),
        ({"keyring_description": ".kernel"}, "keyring_description"),
        ({"keyring_description": "a\nb"}, "keyring_description"),
        ({"keyring_description": "x" * 4096}, "keyring_description"),
        ({"keyring_permissions": "rw"}, "keyring_permissions"),
        ({"keyring_permissions": "0x3f3f3f3f3f"}, "keyring_permissions"),
        ({"keyring_permissions": "0x3f0b0001"}, "keyring_permissions"),
        ({"keyring_permissions": "0xff000000"}, "keyring_permissions"),
        ({"owner": "no-such-user"}, "owner"),
        ({"keyring": "session", "owner": "4711"}, "owner"),
        ({"dest": "/run/app.pem"}, "dest"),
        ({"luks_slot": 1}, "luks_slot"),
        ({"group": "root"}, "group"),
    ],
)
def test_options_that_cannot_work(changes: t.Dict[str, t.Any], option: str) -> None:
    options = {"deliver_to": "keyring", "keyring_description": "skr-test", **changes}
    with refused("invalid_input") as info:
        deliver.check(deliver.Target(**options))
    assert info.value.facts["option"] == option and option in info.value.message


def test_only_root_gives_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with refused("invalid_input") as info:
        deliver.check(target("skr-test", owner="1001"))
    assert info.value.facts == {"option": "owner"}


# --- refused syscalls


class Kernel:
    """Stands for the syscalls: a keyring with one key, and a refusal of one operation."""

    def __init__(self, operation: int = -1, number: int = 0) -> None:
        self.operation, self.number = operation, number
        self.content = b"old"
        self.asked: t.List[int] = []

    def __call__(self, number: int, *words: t.Any) -> int:
        adds = number in (248, 217)
        operation = 100 if adds else words[0]
        self.asked.append(operation)
        if operation == self.operation:
            return -self.number
        if adds:
            self.content = bytes(words[2])
            return 7
        if operation == 6:  # describe
            text = b"user;0;0;3f0b0000;app\0"
            if words[2] is not None:
                words[2].raw = text
            return len(text)
        if operation == 11:  # read: keyring 5 has the key 7
            content = (7).to_bytes(4, sys.byteorder) if words[1] == 5 else self.content
            if words[2] is not None:
                words[2][: len(content)] = content
            return len(content)
        return 5


def faked(monkeypatch: pytest.MonkeyPatch, kernel: Kernel) -> Kernel:
    monkeypatch.setattr(keyctl.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(keyctl.Keys, "syscall", lambda _self, *words: kernel(*words))
    return kernel


def test_the_fake_kernel_behaves(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = faked(monkeypatch, Kernel())
    changed, diff = run("app")
    assert changed and diff["before"]["content"] == "another" and kernel.content == b"s" * 32
    assert not run("app")[0]


@pytest.mark.parametrize(
    ("operation", "number", "reason"),
    [
        (0, errno.ENOSYS, "keyring_unavailable"),
        (0, errno.EPERM, "keyring_unavailable"),
        (8, errno.EACCES, "delivery_failed"),
        (11, errno.EACCES, "delivery_failed"),
        (100, errno.EDQUOT, "keyring_quota"),
        (100, errno.EACCES, "delivery_failed"),
        (100, errno.ENOMEM, "delivery_failed"),
        (100, errno.EKEYREVOKED, "delivery_failed"),
    ],
)
def test_a_refused_syscall_leaves_the_old_key(
    monkeypatch: pytest.MonkeyPatch, operation: int, number: int, reason: str
) -> None:
    kernel = faked(monkeypatch, Kernel(operation, number))
    with refused(reason) as info:
        run("app")
    assert kernel.content == b"old" and info.value.facts["error"] == errno.errorcode[number]


def test_a_kernel_without_keyrings_is_noticed_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = faked(monkeypatch, Kernel(0, errno.ENOSYS))
    with refused("keyring_unavailable"):
        deliver.check(target("app"))
    assert kernel.asked == [0]


def test_a_kernel_without_persistent_keyrings(monkeypatch: pytest.MonkeyPatch) -> None:
    faked(monkeypatch, Kernel(22, errno.EOPNOTSUPP))
    with refused("keyring_unavailable") as info:
        run("app", keyring="persistent")
    assert "persistent" in info.value.message


@pytest.mark.parametrize(("machine", "size"), [("riscv64", 8), ("x86_64", 4)])
def test_a_machine_whose_calls_are_not_known(monkeypatch: pytest.MonkeyPatch, machine: str, size: int) -> None:
    monkeypatch.setattr(keyctl.platform, "machine", lambda: machine)
    monkeypatch.setattr(keyctl.struct, "calcsize", lambda _form: size)
    with refused("keyring_unavailable"):
        deliver.check(target("app"))


def test_a_child_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "_as_user", lambda *_words: os._exit(9))
    with refused("internal_error"):
        keyring.within("user", USER, lambda keys, ring: {})


@needs_root
def test_a_failure_comes_out_of_the_child_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_words: t.Any) -> t.NoReturn:
        raise deliver.SkrFailure("keyring_quota", "told", {"error": "EDQUOT"})

    monkeypatch.setattr(keyring, "_possess", fail)
    with refused("keyring_quota") as info:
        keyring.within("user", os.getuid(), fail)
    assert (info.value.message, info.value.facts) == ("told", {"error": "EDQUOT"})
