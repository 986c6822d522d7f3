# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and reports that differ from the usual, what the attestation service says of each, and of mixtures of them."""

from __future__ import annotations

import copy
import json
import struct
import typing as t
import warnings

import pytest
from attestation_bench import Bench, Vm, proof, refused
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from skrsim.core.faults import Fault
from skrsim.tee.silicon import Tcb
from skrsim.vtpm import relay as relays

OID = "1.3.6.1.4.1.3704.1"
COMPLIANT = "azure-compliant-cvm"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("variants"))
    for product in ("Milan", "Genoa", "Turin"):
        made.vm(product, product=product)
    yield made
    made.stop()


@pytest.fixture
def turin(bench: Bench) -> Vm:
    return bench.vms[2]


def chain(vm: Vm) -> list[x509.Certificate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the serial number 0 of VCEKs
        return x509.load_pem_x509_certificates(vm.chain.encode())


def extension(certificate: x509.Certificate, part: str) -> bytes | None:
    for one in certificate.extensions:
        if one.oid.dotted_string == f"{OID}.{part}":
            return t.cast(bytes, one.value.value)
    return None


def with_report(vm: Vm, report: bytes, certificates: str | None = None) -> dict[str, t.Any]:
    evidence = copy.deepcopy(vm.evidence)
    evidence["IsolationInfo"]["Evidence"]["Proof"] = proof(report, certificates or vm.chain)
    return evidence


def resigned(bench: Bench, vm: Vm, **fields: bytes) -> dict[str, t.Any]:
    """The VM's evidence with fields of its report replaced (at_HEX) and signed by its chip."""
    report = bytearray(vm.hardware)
    for name, value in fields.items():
        at = int(name.removeprefix("at_"), 16)
        report[at : at + len(value)] = value
    bench.platform.chip(vm.name).sign(report)
    return with_report(vm, bytes(report))


# --- products


@pytest.mark.parametrize(
    ("number", "cpuid", "version"),
    [(0, (0x19, 0x01), 3), (1, (0x19, 0x11), 3), (2, (0x1A, 0x02), 5)],
    ids=["Milan", "Genoa", "Turin"],
)
def test_product(bench: Bench, number: int, cpuid: tuple[int, int], version: int) -> None:
    """CPUID and version of the report, names in the chain, and the levels in the token."""
    vm = bench.vms[number]
    report, product = vm.hardware, vm.name
    assert struct.unpack_from("<I", report)[0] == version and (report[0x188], report[0x189]) == cpuid
    vcek, ask, ark = chain(vm)
    assert f"SEV-{product}" in ask.subject.rfc4514_string() and f"ARK-{product}" in ark.subject.rfc4514_string()
    assert (extension(vcek, "2") or b"")[2:].startswith(product.encode())
    nested = bench.attested(vm)["x-ms-isolation-tee"]
    tcb = bench.platform.chip(product).tcb
    found = {name: nested[f"x-ms-sevsnpvm-{name}-svn"] for name in ("bootloader", "tee", "snpfw", "microcode")}
    assert found == {"bootloader": tcb.boot_loader, "tee": tcb.tee, "snpfw": tcb.snp, "microcode": tcb.microcode}
    assert nested["x-ms-compliance-status"] == COMPLIANT


def test_layout_of_turin(bench: Bench, turin: Vm) -> None:
    """Turin's own order of TCB bytes, eight bytes of chip id, FMC in report and certificate, mitigation vectors."""
    report, tcb = turin.hardware, bench.platform.chip("Turin").tcb
    wanted = bytes([tcb.fmc, tcb.boot_loader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode])
    assert len({tcb.fmc, tcb.boot_loader, tcb.tee, tcb.snp, tcb.microcode}) == 5
    for place in (0x38, 0x180, 0x1E0, 0x1F0):
        assert report[place : place + 8] == wanted
    assert any(report[0x1A0:0x1A8]) and report[0x1A8:0x1E0] == bytes(56)
    vcek = chain(turin)[0]
    assert extension(vcek, "4") == report[0x1A0:0x1A8]
    assert extension(vcek, "3.9") == bytes([2, 1, tcb.fmc])
    assert any(report[0x1F8:0x208])  # version 5
    milan = bench.vms[0]
    assert extension(chain(milan)[0], "3.9") is None and extension(chain(milan)[0], "4") == milan.hardware[0x1A0:0x1E0]
    assert milan.hardware[0x1F8:0x208] == bytes(16)


def test_tcb_of_turin_is_compared_whole(bench: Bench, turin: Vm) -> None:
    for position in (0x180, 0x181, 0x182, 0x183, 0x187):
        value = bytes([turin.hardware[position] + 1])
        refused(bench, resigned(bench, turin, **{f"at_{position:x}": value}), "10.tcb")


def test_chip_ids(bench: Bench, turin: Vm) -> None:
    """The rest of a Turin chip id is zero; a masked chip id is not compared."""
    refused(bench, resigned(bench, turin, at_1a7=bytes([turin.hardware[0x1A7] ^ 1])), "10.chip_id")
    refused(bench, resigned(bench, turin, at_1a8=b"\1"), "10.chip_id")
    milan = bench.vms[0]
    refused(bench, resigned(bench, milan, at_1df=bytes([milan.hardware[0x1DF] ^ 1])), "10.chip_id")
    refused(bench, resigned(bench, milan, at_1a8=bytes(56)), "10.chip_id")
    for vm in (turin, milan):
        response, clause = bench.send(resigned(bench, vm, at_1a0=bytes(64)))
        assert response.status == 200, clause


def test_reports_and_chains_of_two_products(bench: Bench) -> None:
    """A chain of another product is refused, whatever name the report's processor has."""
    for one in bench.vms[:3]:
        for other in bench.vms[:3]:
            if one is not other:
                refused(bench, with_report(one, one.hardware, other.chain), "10.product")
    milan = bench.vms[0]
    refused(bench, resigned(bench, milan, at_188=b"\x1a\x02\x01"), "10.product")
    mixed = milan.chain.split("-----END")[0] + "-----END" + bench.vms[1].chain.split("-----END", 1)[1]
    refused(bench, with_report(milan, milan.hardware, mixed), "10.chain_signature")


def test_roots(bench: Bench) -> None:
    """One file holds a root for each product in use, and Intel's."""
    found = x509.load_pem_x509_certificates(bench.platform.root_pem.encode())
    names = [one.subject.rfc4514_string() for one in found]
    assert len(found) == 4 and all("SIMULATED" in name for name in names)
    for common in ("ARK-Milan", "ARK-Genoa", "ARK-Turin", "Intel SGX Root CA"):
        assert sum(f"CN={common}" in name.split(",") for name in names) == 1
    assert [one.public_bytes(Encoding.DER) for one in found[:3]] == bench.platform.amd_roots
    assert [chain(vm)[2] for vm in bench.vms[:3]] == found[:3]


# --- versions and sizes


def test_version_2(bench: Bench) -> None:
    """Without processor: the chain alone tells the product."""
    vm = bench.vm("two", report_version=2)
    assert struct.unpack_from("<I", vm.hardware)[0] == 2 and vm.hardware[0x188:0x18B] == bytes(3)
    assert bench.attested(vm)["x-ms-isolation-tee"]["x-ms-compliance-status"] == COMPLIANT


@pytest.mark.parametrize("version", [0, 1, 4, 6, 0x102])
def test_other_versions(bench: Bench, version: int) -> None:
    refused(bench, resigned(bench, bench.vms[0], at_0=struct.pack("<I", version)), "10.version")


def test_large_index_and_lower_case(bench: Bench) -> None:
    """2,900 bytes as in the paravisor's source since June 2026, with its lower-case user data."""
    vm = bench.vm("large", report_size=2900, lower_user_data=True, lower_vm_id=True)
    assert len(vm.tpm.relay.overlay[relays.HCL_REPORT]) == 2900
    claims = bench.attested(vm)
    runtime = claims["x-ms-isolation-tee"]["x-ms-runtime"]
    vm_id = bench.world.vms["large"].vm_id
    assert claims["x-ms-azurevm-vmid"] == runtime["vm-configuration"]["vmUniqueId"] == vm_id.lower()
    vm.tpm.relay.user_data = lambda: bytes(range(0xA0, 0xE0))  # type: ignore[method-assign]
    vm.tpm.renew_report()
    vm.evidence = vm.collect()
    assert json.loads(vm.runtime)["user-data"] == bytes(range(0xA0, 0xE0)).hex()


def test_legacy_host(bench: Bench) -> None:
    """2,048 bytes, header version 1, one key, which is marked for encryption, a time, and no user data."""
    vm = bench.vm("legacy", generation="legacy", report_version=2)
    blob = vm.tpm.relay.overlay[relays.HCL_REPORT]
    assert len(blob) == 2048 and struct.unpack_from("<I", blob, 4)[0] == 1
    claims = bench.attested(vm)
    runtime = claims["x-ms-isolation-tee"]["x-ms-runtime"]
    assert [(key["kid"], key["key_ops"]) for key in runtime["keys"]] == [("HCLAkPub", ["encrypt"])]
    assert isinstance(runtime["vm-configuration"]["current-time"], int) and "user-data" not in runtime
    assert [key["kid"] for key in claims["x-ms-runtime"]["keys"]] == ["TpmEphemeralEncryptionKey"]
    with pytest.raises(ValueError, match="the index has 2048"):
        bench.vm("small", report_size=2048)  # two keys have no room there


def test_current_host(bench: Bench) -> None:
    vm = bench.vm("current", generation="current", report_size=2900)
    machine = bench.attested(vm)["x-ms-isolation-tee"]["x-ms-runtime"]["vm-configuration"]
    assert machine["tpm-persisted"] is True and machine["root-cert-thumbprint"] == ""


# --- VLEK


def test_vlek(bench: Bench) -> None:
    """Signed by the provider's key: a genuine chain of three, which the service refuses for guests all the same."""
    vm = bench.vm("vlek", vlek=True)
    assert vm.hardware[0x48] >> 2 & 7 == 1
    vlek, asvk, ark = chain(vm)
    assert (
        "CN=SEV-VLEK" in vlek.subject.rfc4514_string().split(",") and "SEV-VLEK-Milan" in vlek.issuer.rfc4514_string()
    )
    assert extension(vlek, "5") and extension(vlek, "4") is None
    assert asvk.issuer == ark.subject and ark == chain(bench.vms[0])[2]
    refused(bench, vm.evidence, "10.signing_key")
    # The bits changed, so that the report claims a VCEK: then it has the wrong certificate.
    report = bytearray(vm.hardware)
    report[0x48] = 0
    bench.platform.chip("vlek").sign(report, vlek=True)
    refused(bench, with_report(vm, bytes(report)), "10.chain")
    # And with the chip's own certificate the signature is not the chip's.
    bench.platform.option("vlek").vlek = False
    thim = bench.platform.thim("vlek")
    refused(bench, with_report(vm, bytes(report), thim["vcekCert"] + thim["certificateChain"]), "10.signature")


@pytest.mark.parametrize("key", [1, 2, 7])
def test_signing_keys(bench: Bench, key: int) -> None:
    refused(bench, resigned(bench, bench.vms[0], at_48=struct.pack("<I", key << 2)), "10.signing_key")


# --- genuine, but not compliant (check 14)


def test_compliance(bench: Bench) -> None:
    """Each of debug bit, id key and firmware level costs the compliance, and nothing else does."""
    vms = {"debug": bench.vm("debug", debug=True), "key": bench.vm("key", id_key_digest="cd" * 48)}
    for name, vm in vms.items():
        nested = bench.attested(vm)["x-ms-isolation-tee"]
        assert nested["x-ms-compliance-status"] != COMPLIANT, name
        assert nested["x-ms-sevsnpvm-is-debuggable"] == (name == "debug")
    assert bench.attested(vms["key"])["x-ms-isolation-tee"]["x-ms-sevsnpvm-idkeydigest"] == "cd" * 48


@pytest.mark.parametrize("member", ["boot_loader", "snp", "microcode"])
def test_old_firmware(bench: Bench, monkeypatch: pytest.MonkeyPatch, member: str) -> None:
    vm = bench.vms[0]
    least = {"boot_loader": 3, "snp": 8, "microcode": 115}
    tcb = bench.platform.chip(vm.name).tcb
    monkeypatch.setattr(bench.platform, "minimum_tcb", lambda _product: Tcb(**least))
    assert bench.attested(vm)["x-ms-isolation-tee"]["x-ms-compliance-status"] == COMPLIANT
    least[member] = getattr(tcb, member) + 1
    assert bench.attested(vm)["x-ms-isolation-tee"]["x-ms-compliance-status"] != COMPLIANT


# --- faults of the host's certificate service


@pytest.mark.parametrize(
    ("action", "check"), [("stale_tcb", "10.tcb"), ("foreign_vcek", "10.chip_id"), ("foreign_root", "10.root")]
)
def test_collateral_faults(bench: Bench, action: str, check: str) -> None:
    for vm in (bench.vms[0], bench.vms[2]):
        if action == "foreign_root" and vm.name != "Milan":
            continue  # two more RSA-4096 keys
        bench.world.faults.add(Fault(action, service="thim", operation="certification", vm=vm.name, times=1))
        refused(bench, vm.collect(), check)
        vm.evidence = vm.collect()
        assert bench.attested(vm)["secureboot"] is True


def test_migration(bench: Bench) -> None:
    """The old report with the new host's chain is refused; the renewed report is not. The product stays."""
    vm = bench.vm("mover", product="Turin")
    before = vm.hardware
    bench.platform.move("mover")
    refused(bench, vm.collect(), "10.chip_id")
    vm.tpm.renew_report()
    vm.evidence = vm.collect()
    assert bench.attested(vm)["secureboot"] is True
    assert vm.hardware[0x1A0:0x1A8] != before[0x1A0:0x1A8] and vm.hardware[0x188] == 0x1A


def test_hosts_are_shared(bench: Bench) -> None:
    """Three VMs to a host, and never two products on one."""
    names = [f"n{number}" for number in range(5)]
    for name in names:
        bench.platform.option(name).product = "Genoa"
    chips = [bench.platform.chip(name) for name in names]
    assert len({id(chip) for chip in chips}) in (2, 3)
    assert all(chip.hierarchy.product == "Genoa" for chip in chips)
    counts = [sum(one is chip for one in bench.platform._places.values()) for chip in chips]
    assert max(counts) <= 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "has no colour"),
        ({"product": "Rome"}, "product must be one of"),
        ({"report_size": 100}, "report_size must be one of"),
        ({"generation": "future"}, "generation must be one of"),
        ({"report_version": 4}, "report_version must be one of"),
        ({"quote_version": 3}, "quote_version must be one of"),
        ({"vlek": "yes"}, "vlek must be true or false"),
        ({"id_key_digest": "abcd"}, "wants 48 bytes"),
        ({"mrtd": "no hex"}, "hex"),
    ],
)
def test_options_are_checked(bench: Bench, values: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench.platform.option("nobody").change(values)
