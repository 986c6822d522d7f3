# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewal of the AK certificate: by the guest through the host's service, and by the paravisor itself."""

from __future__ import annotations

import asyncio
import base64
import datetime
import typing as t
import urllib.parse
import uuid

import pytest
from attestation_bench import Bench, Vm
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from skrsim.core.faults import Fault
from skrsim.core.messages import Request, Response
from skrsim.tee.vtpm_authority import VtpmAuthority
from skrsim.vtpm import relay as relays
from skrsim.vtpm import wire

FORM = {"metadata": "true", "content-type": "application/x-www-form-urlencoded"}
REQUEST_ID = "5f0c6f0e-8a0d-4f0a-9a51-2f0f6d1f0a11"
DAY = 86400


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("renewal"))
    made.vm("plain", "Standard_D2s_v5", "TrustedLaunch")
    made.vm("snp")
    yield made
    made.stop()


@pytest.fixture
def vm(bench: Bench) -> Vm:
    return bench.vms[0]


def certificate(vm: Vm) -> bytes:
    content = vm.tpm.relay.overlay[relays.AK_CERT]
    return content[: 4 + int.from_bytes(content[2:4], "big")]


def form(der: bytes) -> bytes:
    """As Microsoft's client sends it: base64 in one line, everything percent-encoded, no name of a field."""
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    return urllib.parse.quote(text, safe="").encode()


def call(bench: Bench, vm: str, path: str, query: dict[str, str], method: str = "POST", **more: t.Any) -> Response:
    host, where = "169.254.169.254", f"/metadata/THIM/tvm/certificate/{path}"
    headers = more.get("headers", FORM)
    request = Request(method, "http", host, where, tuple(query.items()), headers, more.get("body", b""), vm)
    return asyncio.run(bench.app.handle(request))[0]


def parameters(bench: Bench, vm: str, version: str = "2023-07-01", **changes: str) -> dict[str, str]:
    return {"api-version": version, "vmId": bench.world.vms[vm].vm_id, "requestId": REQUEST_ID, **changes}


def check(bench: Bench, vm: Vm, pem: str, old: bytes) -> bytes:
    """The certificate is for the same key, of the same authority, and another."""
    made, before = x509.load_pem_x509_certificate(pem.encode()), x509.load_der_x509_certificate(old)
    key = made.public_key()
    assert isinstance(key, rsa.RSAPublicKey) and key.public_numbers().n == vm.tpm.ak_modulus
    assert made.serial_number != before.serial_number and made.subject == before.subject
    made.verify_directly_issued_by(bench.platform.vtpm_ca)
    now = datetime.datetime.fromtimestamp(bench.world.clock.now(), datetime.timezone.utc)
    assert (made.not_valid_after_utc - now).days in (364, 365) and made.not_valid_before_utc < now
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


def write(vm: Vm, der: bytes) -> int:
    """Undefine, define and write; the first refusal, or 0."""
    shape = wire.sized(b"\1\xc1\1\xd0\0\x0b\2\6\0\6\0\0" + len(der).to_bytes(2, "big"))
    steps = [(wire.NV_UNDEFINE, [wire.OWNER, relays.AK_CERT], b""), (wire.NV_DEFINE, [wire.OWNER], b"\0\0" + shape)]
    for at in range(0, len(der), 1024):
        piece = wire.sized(der[at : at + 1024]) + at.to_bytes(2, "big")
        steps.append((wire.NV_WRITE, [wire.OWNER, relays.AK_CERT], piece))
    for code, handles, rest in steps:
        answer = vm.tpm.relay.transceive(vm.opener, wire.command(code, handles, wire.PASSWORD, rest))
        if wire.code_of(answer):
            return wire.code_of(answer)
    return 0


def test_at_once(bench: Bench, vm: Vm) -> None:
    """On a Trusted Launch VM the guest writes it, and is attested with it after the old one has expired."""
    old = certificate(vm)
    bench.world.clock.advance(360 * DAY)
    try:
        answer = call(bench, "plain", "renew", parameters(bench, "plain"), body=form(old))
        assert answer.status == 200 and set(answer.json()) == {"AkCertPem", "CertQueryId"}
        uuid.UUID(answer.json()["CertQueryId"])
        made = check(bench, vm, answer.json()["AkCertPem"], old)
        assert write(vm, made) == 0 and certificate(vm) == made
        bench.world.clock.advance(30 * DAY)
        assert bench.send(vm.evidence)[1] == "maa.3.ak_certificate_dates"
        vm.evidence = vm.collect()
        assert bench.attested(vm)["secureboot"] is True
    finally:
        bench.world.clock.advance(-390 * DAY)
        vm.tpm.relay.overlay[relays.AK_CERT] = old.ljust(4096, b"\0")


def test_later(bench: Bench, vm: Vm) -> None:
    """By the older version, for Microsoft's client the second try, the certificate is fetched when it is there."""
    old = certificate(vm)
    asked = parameters(bench, "plain", "2021-12-01")
    answer = call(bench, "plain", "renew", asked, body=form(old))
    assert answer.status == 200 and set(answer.json()) == {"CertQueryId"}
    query = {**asked, "guid": answer.json()["CertQueryId"]}
    early = call(bench, "plain", "query", query, "GET")
    assert (early.status, early.audit["clause"]) == (404, "thim.not_ready")
    bench.world.clock.advance(60)
    check(bench, vm, call(bench, "plain", "query", query, "GET").json()["AkCertPem"], old)
    for change in ({"guid": str(uuid.uuid4())}, {"requestId": str(uuid.uuid4())}):
        answer = call(bench, "plain", "query", {**query, **change}, "GET")
        assert (answer.status, answer.audit["clause"]) == (404, "thim.query")
    answer = call(bench, "snp", "query", {**query, "vmId": bench.world.vms["snp"].vm_id}, "GET")
    assert (answer.status, answer.audit["clause"]) == (404, "thim.query")
    bench.world.clock.advance(-60)


def test_the_whole_index_as_the_cpp_client_sends_it(bench: Bench, vm: Vm) -> None:
    """The zeros behind the certificate are taken, anything else there is not."""
    old = certificate(vm)
    padded = call(bench, "plain", "renew", parameters(bench, "plain"), body=form(old.ljust(4096, b"\0")))
    check(bench, vm, padded.json()["AkCertPem"], old)
    spoilt = call(bench, "plain", "renew", parameters(bench, "plain"), body=form(old + b"\1"))
    assert (spoilt.status, spoilt.audit["clause"]) == (400, "thim.certificate")


def test_on_a_confidential_vm(bench: Bench) -> None:
    """The service answers all the same; the guest cannot put the certificate where the paravisor has its own."""
    vm = bench.vms[1]
    old = certificate(vm)
    answer = call(bench, "snp", "renew", parameters(bench, "snp"), body=form(old))
    assert write(vm, check(bench, vm, answer.json()["AkCertPem"], old)) == 0x149
    assert certificate(vm) == old


def test_refusals(bench: Bench, vm: Vm) -> None:
    good, body = parameters(bench, "plain"), form(certificate(vm))
    other_key = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    now, label = bench.world.clock.now(), "x"
    foreign = VtpmAuthority().issue(vm.tpm.ak_modulus, label, now)
    stranger = bench.platform.authority.issue(other_key, label, now)
    lacking = {name: value for name, value in good.items() if name != "requestId"}
    cases: list[tuple[str, str, str, dict[str, str], bytes, dict[str, str], int, str]] = [
        ("POST", "plain", "renew", {**good, "api-version": "2020-01-01"}, body, FORM, 400, "api_version"),
        ("POST", "plain", "renew", {**good, "vmId": bench.world.vms["snp"].vm_id}, body, FORM, 400, "vm_id"),
        ("POST", "plain", "renew", {**good, "requestId": "7"}, body, FORM, 400, "request_id"),
        ("POST", "plain", "renew", {**good, "more": "1"}, body, FORM, 400, "parameters"),
        ("POST", "plain", "renew", lacking, body, FORM, 400, "parameters"),
        ("GET", "plain", "renew", good, body, FORM, 405, "method"),
        ("POST", "plain", "query", {**good, "guid": REQUEST_ID}, b"", FORM, 405, "method"),
        ("GET", "plain", "query", {**good, "guid": REQUEST_ID}, b"", FORM, 400, "api_version"),
        ("POST", "plain", "revoke", good, body, FORM, 404, "path"),
        ("POST", "plain", "renew", good, b"", FORM, 400, "certificate"),
        ("POST", "plain", "renew", good, b"cert=" + body, FORM, 400, "certificate"),
        ("POST", "plain", "renew", good, form(b"0\x82\x01\x01no certificate"), FORM, 400, "certificate"),
        ("POST", "plain", "renew", good, form(foreign), FORM, 400, "certificate"),
        ("POST", "plain", "renew", good, form(stranger), FORM, 400, "certificate_key"),
        ("POST", "plain", "renew", good, form(certificate(bench.vms[1])), FORM, 400, "certificate_key"),
        ("POST", "plain", "renew", good, body, {**FORM, "content-type": "application/json"}, 415, "content_type"),
    ]
    for method, name, path, query, data, headers, status, clause in cases:
        answer = call(bench, name, path, query, method, body=data, headers=headers)
        assert (answer.status, answer.audit["clause"]) == (status, f"thim.{clause}"), (clause, answer.body)
    answer = call(bench, "plain", "renew", good, body=body, headers={"content-type": FORM["content-type"]})
    assert answer.status == 400  # without the Metadata header


# --- the paravisor's own renewal


def read_start(vm: Vm, index: int, offset: int = 0) -> None:
    vm.run(wire.NV_READ, [wire.OWNER, index], wire.PASSWORD, (64).to_bytes(2, "big") + offset.to_bytes(2, "big"))


def test_the_paravisor_renews_when_a_day_has_passed(bench: Bench) -> None:
    """On reading offset 0 of an index that is not the report, once in 24 hours; a failure leaves the old one."""
    vm, clock = bench.vms[1], bench.world.clock
    old = certificate(vm)
    read_start(vm, relays.AK_CERT)
    assert certificate(vm) == old
    clock.advance(DAY + 60)
    try:
        read_start(vm, relays.AK_CERT, 64)
        read_start(vm, relays.HCL_REPORT)
        assert certificate(vm) == old
        bench.world.faults.add(Fault("fail", service="paravisor", operation="ak_certificate", times=1))
        read_start(vm, relays.AK_CERT)
        assert certificate(vm) == old
        clock.advance(DAY + 60)
        read_start(vm, relays.AK_CERT)
        assert certificate(vm) != old
        vm.evidence = vm.collect()
        assert bench.attested(vm)["secureboot"] is True
        kept = certificate(vm)
        vm.tpm.reboot()
        assert certificate(vm) == kept
    finally:
        clock.advance(-2 * (DAY + 60))


def test_a_trusted_launch_vm_is_not_renewed_by_itself(bench: Bench, vm: Vm) -> None:
    old = certificate(vm)
    bench.world.clock.advance(3 * DAY)
    read_start(vm, relays.AK_CERT)
    bench.world.clock.advance(-3 * DAY)
    assert certificate(vm) == old
