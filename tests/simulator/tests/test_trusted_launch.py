# SPDX-License-Identifier: GPL-3.0-or-later
"""Trusted Launch VMs: a virtual TPM without a report, an AK certificate that the guest may replace, no isolation claims."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
import json
import struct
import typing as t

import pytest
from arm_caller import Caller, vm_path
from attestation_bench import Bench, Vm, b64, proof, refused

from conftest import GROUP, LOCATION
from skrsim.core.messages import Request, Response
from skrsim.core.world import World
from skrsim.services.arm import seed
from skrsim.vtpm import relay as relays
from skrsim.vtpm import wire

OWNED = 0x22060006  # as defined by a client with AUTHREAD, AUTHWRITE, OWNERREAD, OWNERWRITE and NO_DA, once written


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("tl"))
    made.vm("plain", "Standard_D2s_v5", "TrustedLaunch")
    made.vm("snp")
    made.vm("td", "Standard_DC2es_v5")
    yield made
    made.stop()


@pytest.fixture
def vm(bench: Bench) -> Vm:
    return bench.vms[0]


def refusal(vm: Vm, code: int, handles: list[int], parameters: bytes = b"", auth: bytes = wire.PASSWORD) -> int:
    return wire.code_of(vm.tpm.relay.transceive(vm.opener, wire.command(code, handles, auth, parameters)))


def public(vm: Vm, index: int) -> tuple[int, int]:
    """Attributes and size, after the Name has been compared with the public area."""
    body = vm.run(wire.NV_READ_PUBLIC, [index])
    area = body[2 : 2 + struct.unpack_from(">H", body)[0]]
    assert body[2 + len(area) + 2 :] == b"\0\x0b" + hashlib.sha256(area).digest()
    return struct.unpack_from(">I", area, 6)[0], struct.unpack_from(">H", area, len(area) - 2)[0]


def definition(index: int, size: int, attributes: int = 0x02060006) -> bytes:
    return b"\0\0" + wire.sized(struct.pack(">IHIHH", index, 0x0B, attributes, 0, size))


def read(vm: Vm, index: int, size: int, offset: int = 0) -> bytes:
    parameters = struct.pack(">HH", size, offset)
    return vm.run(wire.NV_READ, [wire.OWNER, index], wire.PASSWORD, parameters)[6 : 6 + size]


def write(vm: Vm, index: int, data: bytes) -> None:
    for at in range(0, len(data), 512):
        parameters = wire.sized(data[at : at + 512]) + struct.pack(">H", at)
        vm.run(wire.NV_WRITE, [wire.OWNER, index], wire.PASSWORD, parameters)


# --- the virtual TPM


def test_indices(bench: Bench, vm: Vm) -> None:
    assert refusal(vm, wire.NV_READ_PUBLIC, [relays.HCL_REPORT], auth=b"") == 0x18B
    assert refusal(vm, wire.NV_READ, [wire.OWNER, relays.HCL_REPORT], struct.pack(">HH", 64, 0)) == 0x28B
    attributes, size = public(vm, relays.AK_CERT)
    assert attributes == OWNED and size == 4096
    for other in bench.vms[1:]:  # platform-created: neither writable nor to be undefined
        assert public(other, relays.AK_CERT)[0] & 0x40000000 and not public(other, relays.AK_CERT)[0] & 0x2
        before = read(other, relays.AK_CERT, 1024)
        assert refusal(other, wire.NV_WRITE, [wire.OWNER, relays.AK_CERT], wire.sized(b"x") + b"\0\0") == 0x149
        own = refusal(other, wire.NV_WRITE, [relays.AK_CERT, relays.AK_CERT], wire.sized(b"x") + b"\0\0")
        assert own in (0x149, 0x9A2)
        assert refusal(other, wire.NV_UNDEFINE, [wire.OWNER, relays.AK_CERT]) == 0x149
        assert refusal(other, wire.NV_DEFINE, [wire.OWNER], definition(relays.AK_CERT, 64)) == 0x14C
        assert read(other, relays.AK_CERT, 1024) == before


@pytest.mark.parametrize("size", [1300, 4096])
def test_the_guest_replaces_its_certificate(bench: Bench, vm: Vm, size: int) -> None:
    """Undefine, define, write, as Microsoft's client does; kept over a reboot."""
    certificate = bench.platform.ak_certificate("plain", vm.tpm.ak_modulus, 200)
    content = certificate.ljust(size, b"\0")[:size]
    assert refusal(vm, wire.NV_DEFINE, [wire.OWNER], definition(relays.AK_CERT, size)) == 0x14C
    vm.run(wire.NV_UNDEFINE, [wire.OWNER, relays.AK_CERT], wire.PASSWORD)
    assert refusal(vm, wire.NV_READ_PUBLIC, [relays.AK_CERT], auth=b"") == 0x18B
    assert refusal(vm, wire.NV_READ, [wire.OWNER, relays.AK_CERT], struct.pack(">HH", 64, 0)) == 0x28B
    assert refusal(vm, wire.NV_DEFINE, [wire.OWNER], definition(relays.AK_CERT, 4097)) == 0x2D5
    vm.run(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, definition(relays.AK_CERT, size))
    assert public(vm, relays.AK_CERT) == (OWNED & ~0x20000000, size)
    assert refusal(vm, wire.NV_READ, [wire.OWNER, relays.AK_CERT], struct.pack(">HH", 64, 0)) == 0x14A
    past = wire.sized(b"xy") + struct.pack(">H", size - 1)
    assert refusal(vm, wire.NV_WRITE, [wire.OWNER, relays.AK_CERT], past) == 0x146
    write(vm, relays.AK_CERT, content)
    assert public(vm, relays.AK_CERT) == (OWNED, size)
    vm.tpm.reboot()
    found = b"".join(read(vm, relays.AK_CERT, min(512, size - at), at) for at in range(0, size, 512))
    assert found == content
    vm.evidence = vm.collect()
    assert bench.attested(vm)["x-ms-attestation-type"] == "azurevm"


def test_passwords_and_attributes(vm: Vm) -> None:
    """An index that its owner may only read is not written by the owner; a wrong password is refused."""
    wrong = bytes.fromhex("40000009000001") + wire.sized(b"wrong")
    some, word = struct.pack(">HH", 8, 0), wire.sized(b"12345678") + b"\0\0"
    kept = vm.tpm.relay.overlay[relays.AK_CERT], vm.tpm.relay.nv.owned[relays.AK_CERT]
    assert refusal(vm, wire.NV_UNDEFINE, [wire.OWNER, relays.AK_CERT], auth=wrong) == 0x9A2
    vm.run(wire.NV_UNDEFINE, [wire.OWNER, relays.AK_CERT], wire.PASSWORD)
    shape = wire.sized(struct.pack(">IHIHH", relays.AK_CERT, 0x0B, 0x00020004, 0, 64))
    assert refusal(vm, wire.NV_DEFINE, [wire.OWNER], wire.sized(b"own") + shape, auth=wrong) == 0x9A2
    vm.run(wire.NV_DEFINE, [wire.OWNER], wire.PASSWORD, wire.sized(b"own") + shape)
    assert refusal(vm, wire.NV_WRITE, [wire.OWNER, relays.AK_CERT], word) == 0x149
    assert refusal(vm, wire.NV_WRITE, [relays.AK_CERT, relays.AK_CERT], word) == 0x9A2
    own = bytes.fromhex("40000009000001") + wire.sized(b"own")
    assert refusal(vm, wire.NV_WRITE, [relays.AK_CERT, relays.AK_CERT], word, auth=own) == 0
    assert refusal(vm, wire.NV_READ, [relays.AK_CERT, relays.AK_CERT], some, auth=own) == 0x12F
    assert read(vm, relays.AK_CERT, 8) == b"12345678"
    assert refusal(vm, wire.NV_READ, [wire.OWNER, relays.AK_CERT], some, auth=wrong) == 0x9A2
    vm.tpm.relay.overlay[relays.AK_CERT], vm.tpm.relay.nv.owned[relays.AK_CERT] = kept


# --- attestation


def test_token(bench: Bench, vm: Vm) -> None:
    claims = bench.attested(vm)
    assert claims["x-ms-attestation-type"] == "azurevm" and claims["secureboot"] is True
    assert "x-ms-isolation-tee" not in claims
    assert claims["x-ms-azurevm-vmid"] == bench.world.vms["plain"].vm_id.upper()
    assert [key["kid"] for key in claims["x-ms-runtime"]["keys"]] == ["TpmEphemeralEncryptionKey"]


def test_evidence_is_refused(bench: Bench, vm: Vm) -> None:
    other = bench.vms[1]
    for evidence in (
        {},
        {"Proof": "", "RunTimeData": ""},
        {"Proof": proof(other.hardware, other.chain), "RunTimeData": b64(other.runtime)},
    ):
        altered = copy.deepcopy(vm.evidence)
        altered["IsolationInfo"] = {"Type": "TrustedLaunch", "Evidence": evidence}
        refused(bench, altered, "9.evidence")


def test_a_report_of_another_vm(bench: Bench, vm: Vm) -> None:
    """A VM without a report cannot borrow one: its attestation key is not in it."""
    for other in bench.vms[1:]:
        altered = copy.deepcopy(vm.evidence)
        altered["IsolationInfo"] = copy.deepcopy(other.evidence["IsolationInfo"])
        refused(bench, altered, "13.ak")


# --- what the cloud says of the three kinds


def imds(bench: Bench, vm: str, path: str, **query: str) -> Response:
    request = Request("GET", "http", "169.254.169.254", path, tuple(query.items()), {"metadata": "true"}, b"", vm)
    return asyncio.run(bench.app.handle(request))[0]


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("plain", "TrustedLaunch", "Standard_D2s_v5"),
        ("snp", "ConfidentialVM", "Standard_DC2as_v5"),
        ("td", "ConfidentialVM", "Standard_DC2es_v5"),
    ],
)
def test_metadata_and_resource_manager_agree(bench: Bench, name: str, kind: str, size: str) -> None:
    world: World = bench.world
    compute = imds(bench, name, "/metadata/instance/compute", **{"api-version": "2021-02-01"}).json()
    wanted = {"secureBootEnabled": "true", "virtualTpmEnabled": "true", "securityType": kind}
    assert compute["securityProfile"] == wanted and compute["vmSize"] == size
    assert compute["resourceId"] == world.vms[name].id and compute["azEnvironment"] == "AzurePublicCloud"
    assert compute["name"] == name and compute["vmScaleSetName"] == ""
    text = {"format": "text"}
    for part, version in (("location", "2021-01-01"), ("vmId", "2019-03-11")):
        answer = imds(bench, name, f"/metadata/instance/compute/{part}", **{"api-version": version}, **text)
        assert answer.body.decode() == compute[part] and answer.headers["Content-Type"].startswith("text/plain")
    operator = seed.application(world, f"reader-{name}", "secret", ("Reader",))
    document = Caller(bench.app, operator)("GET", vm_path(world, name, GROUP)).document
    properties = document["properties"]
    assert properties["securityProfile"]["securityType"] == kind and properties["vmId"] == compute["vmId"]
    assert properties["hardwareProfile"]["vmSize"] == size and document["location"] == LOCATION
    disk = properties["storageProfile"]["osDisk"]["managedDisk"]
    assert ("securityProfile" in disk) == (kind == "ConfidentialVM")
    chain = imds(bench, name, "/metadata/THIM/amd/certification")
    assert chain.status == (200 if name == "snp" else 404)


def test_runtime_data_name_no_other_vm(bench: Bench) -> None:
    """The three kinds agree on what the VM's id is."""
    for vm in bench.vms[1:]:
        blob = base64.b64decode(vm.evidence["IsolationInfo"]["Evidence"]["RunTimeData"])
        assert json.loads(blob)["vm-configuration"]["vmUniqueId"].lower() == bench.world.vms[vm.name].vm_id
