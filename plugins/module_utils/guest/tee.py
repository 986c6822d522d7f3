# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of isolation a VM can have, each a strategy: what it proves with, how that is sent, and what is told of it.

A kind is found by what the vTPM holds, never by an option, and nothing falls back to a weaker kind: where the report of
a confidential VM cannot be had or does not verify, that is a failure.
"""

from __future__ import annotations

import abc
import base64
import dataclasses
import json
import time
import typing as t

from ..policy.failure import SkrFailure
from . import hcl, snp, snp_verify

if t.TYPE_CHECKING:
    from . import tdx

REQUIRE = ("any", "confidential", "snp", "tdx")
_REFETCH = 2
NAMES = {"snp": "AMD SEV-SNP", "tdx": "Intel TDX", "none": "none (Trusted Launch)"}


class Tee(abc.ABC):
    """What the hardware says of this VM. ``tee`` is snp, tdx or none; ``kind`` is the service's word for it."""

    tee: t.ClassVar[str]
    kind: t.ClassVar[str]

    @abc.abstractmethod
    def proof(self) -> bytes:
        """The hardware's evidence as guest attestation takes it."""

    @abc.abstractmethod
    def platform(self) -> t.Tuple[str, t.Dict[str, t.Any]]:
        """The operation of platform attestation that takes this kind, and its request without a nonce."""

    @abc.abstractmethod
    def facts(self) -> t.Dict[str, t.Any]:
        """Public facts for results and evidence."""

    def isolation(self) -> t.Dict[str, t.Any]:
        """The member IsolationInfo of a guest attestation request."""
        return {"Type": self.kind, "Evidence": {"Proof": b64(self.proof()), "RunTimeData": b64(self.runtime_data)}}

    @property
    def runtime_data(self) -> bytes:
        """The paravisor's statement that the hardware report is bound to."""
        return b""

    @property
    def runtime(self) -> t.Dict[str, t.Any]:
        return {"data": b64u(self.runtime_data), "dataType": "JSON"}


@dataclasses.dataclass(frozen=True)
class Snp(Tee):
    """AMD SEV-SNP: a report signed by the processor, and the certificates of its key."""

    report: hcl.HclReport
    hardware: snp.SnpReport
    chain: snp_verify.Chain
    chain_pem: str  # as the certificate service gave it
    tee = "snp"
    kind = "SevSnp"

    @property
    def runtime_data(self) -> bytes:
        return self.report.runtime_data

    def proof(self) -> bytes:
        return compact({"SnpReport": b64u(self.hardware.raw), "VcekCertChain": b64(self.chain_pem.encode())})

    def platform(self) -> t.Tuple[str, t.Dict[str, t.Any]]:
        proof = {"SnpReport": b64u(self.hardware.raw), "VcekCertChain": b64u(self.chain_pem.encode())}
        return "SevSnpVm", {"report": b64u(compact(proof)), "runtimeData": self.runtime}

    def facts(self) -> t.Dict[str, t.Any]:
        return {
            "tee": self.tee,
            "isolation": self.kind,
            **snp_facts(self.hardware, self.chain),
            **hcl_facts(self.report),
        }


@dataclasses.dataclass(frozen=True)
class Tdx(Tee):
    """Intel TDX: a quote, which the host made of the TD report."""

    report: hcl.HclReport
    quote: tdx.Quote
    tee = "tdx"
    kind = "Tdx"

    @property
    def runtime_data(self) -> bytes:
        return self.report.runtime_data

    def proof(self) -> bytes:
        return self.quote.raw

    def platform(self) -> t.Tuple[str, t.Dict[str, t.Any]]:
        return "TdxVm", {"quote": b64u(self.quote.raw), "runtimeData": self.runtime}

    def facts(self) -> t.Dict[str, t.Any]:
        return {"tee": self.tee, "isolation": self.kind, **self.quote.facts(), **hcl_facts(self.report)}


class TrustedLaunch(Tee):
    """No hardware isolation: a virtual TPM that the host provides is all there is."""

    tee = "none"
    kind = "TrustedLaunch"

    def proof(self) -> bytes:
        return b""

    def isolation(self) -> t.Dict[str, t.Any]:
        return {"Type": self.kind}

    def platform(self) -> t.Tuple[str, t.Dict[str, t.Any]]:
        raise SkrFailure("not_a_cvm", "This is a Trusted Launch VM: it has no hardware report to attest.")

    def facts(self) -> t.Dict[str, t.Any]:
        note = "The host can read this VM's memory; the virtual TPM proves how it booted and no more."
        return {"tee": self.tee, "isolation": self.kind, "note": note}


def check_required(tee: str, require: str) -> None:
    """The VM is of the kind that the caller insists on. Raises SkrFailure ``not_a_cvm`` or ``tee_mismatch``."""
    if require not in REQUIRE:
        raise SkrFailure(
            "invalid_input",
            f"require_tee is {require!r}, wanted one of {', '.join(REQUIRE)}.",
            {"option": "require_tee"},
        )
    if require == "any" or require == tee or (require == "confidential" and tee != "none"):
        return
    if tee == "none":
        raise SkrFailure(
            "not_a_cvm",
            f"The TPM has no HCL report: this is no confidential VM, and require_tee is {require}.",
            {"tee": tee, "require_tee": require},
        )
    raise SkrFailure(
        "tee_mismatch",
        f"This VM is isolated by {NAMES.get(tee, tee)}, and require_tee is {require}.",
        {"tee": tee, "require_tee": require},
    )


def endorse_snp(report: hcl.HclReport, fetch_chain: t.Callable[[], str], extra_roots_pem: str) -> Snp:
    """The report with a chain that verifies it. They may be of different hosts; :func:`endorse` sees to it."""
    hardware = snp.parse(report.hardware_report)
    chain_pem = fetch_chain()
    try:
        chain = snp_verify.parse_chain(chain_pem)
        snp_verify.verify(hardware, chain, extra_roots_pem)
    except SkrFailure:
        if not getattr(fetch_chain, "kept", False):
            raise
        # The chain of an earlier run, perhaps of another host; now it is fetched.
        return endorse_snp(report, fetch_chain, extra_roots_pem)
    return Snp(report, hardware, chain, chain_pem)


def endorse_tdx(report: hcl.HclReport, fetch_quote: t.Callable[[bytes], bytes], extra_roots_pem: str) -> Tdx:
    """The report with a quote that was made of it and verifies."""
    from . import tdx, tdx_verify  # compiled on the VMs that need them

    hardware = tdx.parse_report(report.hardware_report)
    quote = tdx.parse_quote(fetch_quote(hardware.raw))
    tdx_verify.verify(quote, hardware.report_data, extra_roots_pem)
    return Tdx(report, quote)


def endorse(
    read_report: t.Callable[[], hcl.HclReport],
    fetch_chain: t.Callable[[], str],
    fetch_quote: t.Callable[[bytes], bytes],
    extra_roots_pem: str,
    require: str,
) -> Tee:
    """A report and endorsements that belong together; both are got anew where they differ. Raises SkrFailure.

    The VM may move to another host, or the host's firmware be updated, between the two readings.
    """
    attempts = 0
    while True:
        report = read_report()
        check_required(report.tee, require)
        try:
            if report.tee == "tdx":
                return endorse_tdx(report, fetch_quote, extra_roots_pem)
            return endorse_snp(report, fetch_chain, extra_roots_pem)
        except SkrFailure as error:
            attempts += 1
            if error.reason not in ("vcek_chip", "vcek_tcb", "td_quote_binding") or attempts > _REFETCH:
                raise
            time.sleep(0.5 * attempts)


def snp_facts(report: snp.SnpReport, chain: t.Optional[snp_verify.Chain]) -> t.Dict[str, t.Any]:
    """Of a report; its firmware level can be told only where the product is known."""
    product = chain.product if chain else report.product
    found: t.Dict[str, t.Any] = {
        "product": product,
        "report_version": report.version,
        "reported_tcb": report.tcb(product).as_dict() if product else None,
        "chip_id": report.chip_id.hex(),
        "measurement": report.measurement.hex(),
        "id_key_digest": report.id_key_digest.hex(),
        "host_data": report.host_data.hex(),
        "guest_svn": report.guest_svn,
        "policy": report.policy,
        "vmpl": report.vmpl,
        "signing_key": report.signing_key,
        "debuggable": report.debuggable,
        "migratable": report.migratable,
    }
    if chain is not None and chain.provider:
        found["provider"] = chain.provider
    return found


def hcl_facts(report: hcl.HclReport) -> t.Dict[str, t.Any]:
    configuration = report.runtime.get("vm-configuration")
    return {
        "vm_unique_id": report.vm_unique_id,
        "vm_configuration": configuration if isinstance(configuration, dict) else {},
        "user_data": report.user_data.hex() if report.user_data is not None else None,
    }


def compact(document: t.Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def b64u(data: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
