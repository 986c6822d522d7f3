# SPDX-License-Identifier: GPL-3.0-or-later
"""Each request and each TPM command of a release goes wrong in turn, in every way that such a call can.

Whatever happens ends in success or in a reason with a next step; a key that was delivered before stays whole; nothing
is left loaded in the TPM; no key byte and no token is shown; and the same call afterwards delivers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import stat
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from integration.site import ready
from labkit import Lab
from sentinel import Sentinel

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS
from skrsim.lab.plan import AUTHORITY

VM = "cvm-01"
EXPIRED = {"error": {"code": "Unauthorized", "message": "AKV10022: the token expired."}}
UNREACHABLE = ("imds_unreachable", "network_unreachable")
UNKNOWN = {"error": "invalid_request", "error_description": "Identity not found"}


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to go wrong: a row of the lab's fault table.

    ``passes``: one occurrence must be got over. ``lasting``: it is also tried from the n-th call on for good.
    ``reasons``: what a failure may be told as; any reason where it depends on the service.
    """

    name: str
    action: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    passes: bool = False
    lasting: bool = False
    reasons: tuple[str, ...] = ()


HTTP_WAYS = [
    Way("429", "status", {"code": 429}, passes=True, lasting=True),
    Way("429 with Retry-After", "status", {"code": 429, "retry_after": 30}, passes=True),
    Way("503", "status", {"code": 503}, passes=True, lasting=True),
    Way("a reset", "reset", passes=True, lasting=True, reasons=UNREACHABLE),
    Way("a reset in mid-body", "reset_mid_body", passes=True, reasons=UNREACHABLE),
    Way("a slow body", "slow_body", {"seconds": 0.2}, passes=True),
    Way("half a document", "truncate_json"),
    Way("an HTML page", "html"),
    Way("an HTML page with 502", "html", {"code": 502}, passes=True),
    Way("a refused token", "status", {"code": 401, "body": EXPIRED}, lasting=True),
    Way("an unknown identity", "status", {"code": 400, "body": UNKNOWN}),
    Way("a redirect", "redirect", reasons=("redirect_refused",)),
]
TPM_WAYS = [
    Way("retry", "retry", passes=True, lasting=True, reasons=("tpm_busy",)),
    Way("lockout", "lockout", reasons=("tpm_lockout",)),
    Way("a PCR that has changed", "rc", {"code": "0x128"}, reasons=("pcr_changed",)),
    Way("a PCR that changes before it", "pcr_changed", reasons=("pcr_changed",)),
    Way("no object memory", "object_memory", reasons=("tpm_busy",)),
    Way("no session memory", "session_memory", reasons=("tpm_busy",)),
    Way("a lost device", "lost", lasting=True, reasons=("tpm_busy",)),
    Way("a held device", "busy", reasons=("tpm_busy",)),
]
OPEN_WAYS = [
    Way("a held device", "busy", passes=True, lasting=True, reasons=("tpm_busy",)),
    Way("a lost device", "lost", lasting=True, reasons=("tpm_busy",)),
    Way("a slow device", "delay", {"seconds": 0.2}, passes=True),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """One run: which call goes wrong, in which way, once or from then on."""

    service: str
    operation: str
    number: int
    way: Way
    once: bool = True

    def __str__(self) -> str:
        much = "once" if self.once else "for good"
        return f"{self.service} {self.operation} call {self.number} meets {self.way.name}, {much}"


class Bench:
    """A site whose VM releases one key over and over, and what a release consists of."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.site = lab, ready(lab, key_type="EC-HSM", curve="P-256")
        self.dest = Path(self.site.destination(VM))
        self.bundle = self.dest.with_name("lab-ca.pem")  # without the system's authorities: loading them takes long
        self.bundle.parent.mkdir(parents=True, exist_ok=True)
        _system, mark, last = Path(lab.variables["skr_guest_ca_path"]).read_text().rpartition("-----BEGIN")
        self.bundle.write_text(mark + last)
        self.other = pem(ec.generate_private_key(ec.SECP256R1()))
        mark, before = lab.mark, self._commands()
        first = self.release()
        assert not first.get("failed"), first
        self.key = self.dest.read_bytes()
        self.sentinel = Sentinel(serialization.load_pem_private_key(self.key, None))  # type: ignore[arg-type]
        self.requests = Counter((one["service"], one["operation"]) for one in lab.audit(mark, vm=VM))
        self.commands = self._commands() - before
        # The module counts before it closes the TPM, which takes the flush of its key.
        assert sum(self.requests.values()) == first["counts"]["http_requests"]
        assert sum(self.commands.values()) == first["counts"]["tpm_commands"] + 1

    def _commands(self) -> Counter[str]:
        return Counter(self.lab.call("status")["vms"][VM]["tpm_names"])

    def release(self) -> dict[str, Any]:
        """A release that remembers nothing of an earlier one and reads the live policy: every call there is."""
        options = self.lab.guest(VM) | {"cache_dir": None, "tpm_timeout": 0.15, "ca_path": str(self.bundle)}
        return self.lab.quick(
            "key_release",
            **options,
            attestation_url=AUTHORITY,
            vault_uri=self.site.uri,
            key_name="app",
            dest=str(self.dest),
        )

    def requests_in(self, ways: list[Way]) -> list[Case]:
        return [
            Case(service, operation, number, way, once)
            for way in ways
            for (service, operation), count in self.requests.items()
            for number in range(1, count + 1)
            for once in ((True, False) if way.lasting else (True,))
        ]

    def commands_in(self, ways: list[Way]) -> list[Case]:
        return [
            Case("tpm", name, number, way, once)
            for way in ways
            for name, count in self.commands.items()
            for number in range(1, count + 1)
            for once in ((True, False) if way.lasting else (True,))
        ]

    @staticmethod
    def openings_in(ways: list[Way]) -> list[Case]:
        return [
            Case("tpm", "open", 1, way, once) for way in ways for once in ((True, False) if way.lasting else (True,))
        ]

    # --- what must hold

    def try_out(self, case: Case, older: bool) -> str:
        """Run one case; ``older`` puts another key in the place first, which only a success may replace."""
        if older:
            self.dest.unlink()
            self.dest.touch(mode=0o400)
            self.dest.chmod(0o600)
            self.dest.write_bytes(self.other)
            self.dest.chmod(0o400)
        before, left = trace(self.dest), self.left()
        row = {"service": case.service, "operation": case.operation, "vm": VM, "first": case.number}
        with self.lab.fault(case.way.action, **row, times=1 if case.once else None, **case.way.parameters):
            result = self.release()
        assert not self.sentinel.found_in(json.dumps(result).encode()), "a secret is shown"
        if result.get("failed"):
            assert result["reason"] in REASONS and result["reason"] != "internal_error", result
            assert not case.way.reasons or result["reason"] in case.way.reasons, result
            assert result["msg"] and result["next_step"] and result["changed"] is False, result
            assert trace(self.dest) == before, "the key delivered before was touched"
        else:
            assert result["changed"] is older and self.dest.read_bytes() == self.key, result
            assert older or trace(self.dest) == before, "an unchanged key was written anew"
        if case.way.passes and case.once:
            assert not result.get("failed"), result
        assert [path.name for path in self.dest.parent.iterdir() if path.name.startswith(".")] == []
        assert self.loaded() == []
        if case.way.action not in ("lost", "busy") and case.operation != "FlushContext":
            assert self.left() == left, "keys or sessions were left to the resource manager"
        again = self.release()
        assert not again.get("failed"), again
        assert again["changed"] is (older and bool(result.get("failed"))) and self.dest.read_bytes() == self.key
        return str(result.get("reason", "success"))

    def left(self) -> int:
        """How many objects and sessions openers of the TPM have left loaded when they closed it."""
        self.settled()
        return int(self.lab.call("status")["vms"][VM]["tpm_left"])

    def settled(self) -> None:
        """A socket that was closed is noticed by the other side a moment later."""
        deadline = time.monotonic() + 5
        while self.lab.call("status")["vms"][VM]["tpm_openers"]:
            assert time.monotonic() < deadline, "the TPM is still open"
            time.sleep(0.002)

    def loaded(self) -> list[str]:
        """Transient objects and sessions in the TPM, by its own account (TPM2_GetCapability, handles)."""
        self.settled()
        found = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.lab.hosts[VM]["skr_tpm_device"]).removeprefix("unix:"))
            for first in (0x80000000, 0x02000000, 0x03000000):
                connection.sendall(struct.pack(">HIIIII", 0x8001, 22, 0x17A, 1, first, 16))
                answer = connection.recv(4096)
                assert answer[6:10] == bytes(4), answer.hex()
                (count,) = struct.unpack_from(">I", answer, 15)
                found += [f"{handle:08x}" for handle in struct.unpack_from(f">{count}I", answer, 19)]
        return found


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def trace(path: Path) -> tuple[Any, ...]:
    found = os.stat(path)
    return path.read_bytes(), found.st_ino, stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime_ns


@pytest.fixture(scope="module")
def bench(shared_lab: Lab) -> Iterator[Bench]:
    shared_lab.call("fault_clear")
    yield Bench(shared_lab)


def sweep(bench: Bench, cases: list[Case], subtests: pytest.Subtests) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for number, case in enumerate(cases):
        with subtests.test(msg=str(case)):
            outcomes[bench.try_out(case, older=bool(number % 2))] += 1
    return outcomes


def test_what_a_release_consists_of(bench: Bench) -> None:
    """Six requests and some TPM commands, each of which is broken below."""
    assert dict(bench.requests) == {
        ("imds", "thim_certification"): 1,
        ("maa", "attest_azureguest"): 1,
        ("maa", "certs"): 1,
        ("imds", "imds_token"): 1,
        ("keyvault", "key_get"): 1,
        ("keyvault", "key_release"): 1,
    }
    cases = [*bench.requests_in(HTTP_WAYS), *bench.commands_in(TPM_WAYS), *bench.openings_in(OPEN_WAYS)]
    assert len(set(map(str, cases))) == len(cases) >= 250


@pytest.mark.parametrize("way", HTTP_WAYS, ids=lambda way: way.name)
def test_each_request_in_turn(bench: Bench, local_lab: Lab, way: Way, subtests: pytest.Subtests) -> None:
    sweep(bench, bench.requests_in([way]), subtests)


@pytest.mark.parametrize("way", TPM_WAYS, ids=lambda way: way.name)
def test_each_tpm_command_in_turn(bench: Bench, local_lab: Lab, way: Way, subtests: pytest.Subtests) -> None:
    sweep(bench, bench.commands_in([way]), subtests)


def test_each_opening_of_the_tpm(bench: Bench, local_lab: Lab, subtests: pytest.Subtests) -> None:
    sweep(bench, bench.openings_in(OPEN_WAYS), subtests)
