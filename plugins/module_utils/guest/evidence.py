# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects what a confidential VM can prove about itself into one attestation request.

The steps, in order:

1. Read the AK certificate and the HCL report; the report is read again while it is stale or torn.
2. Check that the report is bound to this TPM's attestation key.
3. Fetch the VCEK chain and check that it belongs to the report; fetch both again when they differ.
4. Read the PCRs, make the ephemeral key bound to them, quote the PCRs and certify the key; again when they moved.
5. Verify the statements, which turns a later refusal by the service into a clear message.
"""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import os
import time
import typing as t

from ..policy.failure import SkrFailure
from . import akcert, hcl, quote, snp, snp_verify
from .tpm2 import Tpm, rc, templates, wire
from .tpm2.client import Attest

PCRS = (0, 1, 2, 3, 4, 5, 6, 7)
EVENT_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
OS_RELEASE = "/etc/os-release"
_AK_WANTED = 0x00050072 & ~0x40  # sign, restricted, fixedTPM, fixedParent, sensitiveDataOrigin
_REPORT_WAIT = 10.0  # seconds until a report that does not show our user data counts as stale
_REFETCH = 2
_PCR_ROUNDS = 3
_USER_DATA_ATTRIBUTES = 0x00060006  # owner and index authorization may read and write
_LOCK = "/run/lock/azure-skr-hcl.lock"
_LOCK_WAIT = 30.0  # seconds; a caller holds it for little more than _REPORT_WAIT


@dataclasses.dataclass
class Evidence:
    """Everything one attestation request needs, and the ephemeral key that opens its answer.

    The key lives in the TPM that is still open; ``decrypt`` works while the attested PCRs keep their values.
    """

    tpm: Tpm
    pcrs: t.Tuple[int, ...]
    pcr_values: t.List[bytes]
    ak_public: bytes
    ak_certificate: akcert.AkCertificate
    report: hcl.HclReport
    hardware: snp.SnpReport
    chain_pem: str
    product: str
    key_handle: int
    key_public: bytes
    quote: Attest
    certification: Attest
    event_log: bytes
    distribution: t.Tuple[str, int, int]

    @property
    def modulus(self) -> int:
        """Modulus of the ephemeral key."""
        return wire.rsa_public(self.key_public).modulus

    def decrypt_rsaes(self, cipher: bytes) -> bytes:
        """RSAES-PKCS1-v1_5 by the ephemeral key."""
        return self._decrypt(cipher, wire.ALG_RSAES.to_bytes(2, "big"))

    def decrypt_oaep(self, cipher: bytes, hash_name: str) -> bytes:
        """RSAES-OAEP by the ephemeral key; ``hash_name`` (sha1, sha256, sha384) is used for MGF1 too; empty label."""
        scheme = wire.ALG_OAEP.to_bytes(2, "big") + wire.HASHES[hash_name].to_bytes(2, "big")
        return self._decrypt(cipher, scheme)

    def _decrypt(self, cipher: bytes, scheme: bytes) -> bytes:
        return self.tpm.rsa_decrypt(self.key_handle, cipher, scheme, self.pcrs)

    def request(self, payload: t.Mapping[str, str]) -> t.Dict[str, str]:
        """The body of POST /attest/AzureGuest. ``payload`` values are text; the service echoes their base64."""
        name, major, minor = self.distribution
        inner = {
            "AttestationProtocolVersion": "2.0",
            "OSType": b64(b"Linux"),
            "OSDistro": b64(name.encode()),
            "OSVersionMajor": major,
            "OSVersionMinor": minor,
            "OSBuild": b64(b"NotApplication"),
            "TcgLogs": b64(self.event_log),
            "ClientPayload": {key: b64(value.encode()) for key, value in payload.items()},
            "TpmInfo": {
                "AikCert": b64(self.ak_certificate.der),
                "AikPub": b64(wire.sized(self.ak_public)),
                "PcrQuote": b64(self.quote.data),
                "PcrSignature": b64(self.quote.signature),
                "PcrSet": list(self.pcrs),
                "PCRs": [{"Index": pcr, "Digest": b64(value)} for pcr, value in zip(self.pcrs, self.pcr_values)],
                "EncKeyPub": b64(wire.sized(self.key_public)),
                "EncKeyCertifyInfo": b64(self.certification.data),
                "EncKeyCertifyInfoSignature": b64(self.certification.signature),
            },
            "IsolationInfo": {
                "Type": "SevSnp",
                "Evidence": {"Proof": self._proof(), "RunTimeData": b64(self.report.runtime_data)},
            },
        }
        return {"AttestationInfo": b64u(json.dumps(inner, separators=(",", ":")).encode())}

    def _proof(self) -> str:
        proof = {"SnpReport": b64u(self.hardware.raw), "VcekCertChain": b64(self.chain_pem.encode())}
        return b64(json.dumps(proof, separators=(",", ":")).encode())

    def facts(self) -> t.Dict[str, t.Any]:
        """Public facts for results and evidence."""
        report = self.hardware
        return {
            "tee": self.report.tee,
            "product": self.product,
            "report_version": report.version,
            "reported_tcb": report.tcb(self.product).as_dict(),
            "chip_id": report.chip_id.hex(),
            "measurement": report.measurement.hex(),
            "id_key_digest": report.id_key_digest.hex(),
            "host_data": report.host_data.hex(),
            "guest_svn": report.guest_svn,
            "vmpl": report.vmpl,
            "debuggable": report.debuggable,
            "vm_unique_id": self.report.vm_unique_id,
            "pcrs": {str(pcr): value.hex() for pcr, value in zip(self.pcrs, self.pcr_values)},
            "ak_cert_subject": self.ak_certificate.subject,
            "ak_cert_issuer": self.ak_certificate.issuer,
            "ak_cert_not_after": akcert.iso(self.ak_certificate.not_after),
            "ak_cert_days_left": self.ak_certificate.days_left(),
        }


def collect(
    tpm: Tpm,
    fetch_chain: t.Callable[[], str],
    extra_roots_pem: str = "",
    user_data: t.Optional[bytes] = None,
    pcrs: t.Sequence[int] = PCRS,
    event_log_path: str = EVENT_LOG,
    os_release_path: str = OS_RELEASE,
) -> Evidence:
    """Collect the evidence of this VM (steps in the module's description).

    ``fetch_chain`` returns PEM text of VCEK, ASK and ARK; ``extra_roots_pem`` are roots to accept besides AMD's.
    Raises SkrFailure.
    """
    # 1 (absence of the report comes first: it tells a confidential VM from any other)
    index = tpm.nv_read_public(templates.NV_HCL_REPORT)
    if index is None:
        raise SkrFailure(
            "not_a_cvm", f"The TPM at {tpm.device} has no HCL report (index 0x{templates.NV_HCL_REPORT:08x})."
        )
    ak_area = tpm.read_public(templates.AK_HANDLE)
    if ak_area is None:
        raise SkrFailure("ak_missing", f"The TPM at {tpm.device} has no key at 0x{templates.AK_HANDLE:08x}.")
    ak = wire.rsa_public(ak_area)
    if ak.attributes & _AK_WANTED != _AK_WANTED:
        raise SkrFailure(
            "ak_missing", f"The key at 0x{templates.AK_HANDLE:08x} is no restricted signing key of this TPM."
        )
    report, hardware, chain_pem, product = _hardware(
        tpm, index.size, ak.modulus, user_data, fetch_chain, extra_roots_pem
    )
    certificate = akcert.parse(_certificate(tpm), ak.modulus)
    for attempt in range(_PCR_ROUNDS):
        # 4
        values = tpm.pcr_read(pcrs)
        policy = templates.pcr_policy(pcrs, templates.pcr_digest(values))
        handle, key_area = tpm.create_primary(wire.RH_NULL, templates.ephemeral_template(policy))
        try:
            quoted = tpm.quote(templates.AK_HANDLE, pcrs)
            certified = tpm.certify(handle, templates.AK_HANDLE)
            # 5
            _check(ak, pcrs, values, quoted, certified, key_area)
            break
        except SkrFailure as error:
            tpm.discard(handle)
            if error.reason != "pcr_changed" or attempt == _PCR_ROUNDS - 1:
                raise
    return Evidence(
        tpm, tuple(pcrs), values, ak_area, certificate, report, hardware, chain_pem, product, handle, key_area,
        quoted, certified, _event_log(event_log_path), distribution(os_release_path),
    )  # fmt: skip


def _check(
    ak: wire.RsaPublic,
    pcrs: t.Sequence[int],
    values: t.Sequence[bytes],
    quoted: Attest,
    certified: Attest,
    key_area: bytes,
) -> None:
    """Step 5. Raises SkrFailure ``quote_invalid``, or ``pcr_changed`` when the PCRs moved since they were read."""
    quote.verify_signature(quoted.data, quoted.signature, ak.modulus, ak.exponent, "quote")
    quote.verify_signature(certified.data, certified.signature, ak.modulus, ak.exponent, "certification")
    statement = quote.parse(quoted.data)
    if statement.selection == wire.selection(pcrs) and statement.pcr_digest != templates.pcr_digest(values):
        raise SkrFailure("pcr_changed", f"PCRs moved between reading and quoting, {_PCR_ROUNDS} times in a row.")
    quote.check_quote(quoted.data, pcrs, values)
    quote.check_certification(certified.data, templates.object_name(key_area))


def _hardware(
    tpm: Tpm,
    size: int,
    ak_modulus: int,
    user_data: t.Optional[bytes],
    fetch_chain: t.Callable[[], str],
    extra_roots_pem: str,
) -> t.Tuple[hcl.HclReport, snp.SnpReport, str, str]:
    """Steps 1 to 3: a report and a chain that belong together."""
    attempts = 0
    while True:
        report = _report(tpm, size, ak_modulus, user_data)
        if report.tee != "snp":
            raise SkrFailure(
                "tee_unsupported", f"The HCL report is of type {report.tee}, wanted snp.", {"tee": report.tee}
            )
        hardware = snp.parse(report.hardware_report)
        chain_pem = fetch_chain()
        try:
            chain = snp_verify.parse_chain(chain_pem)
            snp_verify.verify(hardware, chain, extra_roots_pem)
            return report, hardware, chain_pem, chain.product
        except SkrFailure as error:
            if getattr(fetch_chain, "kept", False):
                continue  # the chain of an earlier run, perhaps of another host; now it is fetched
            # The VM may have moved to another host, or the host's firmware was updated, between the two readings.
            attempts += 1
            if error.reason not in ("vcek_chip", "vcek_tcb") or attempts > _REFETCH:
                raise
            time.sleep(0.5 * attempts)


def _report(tpm: Tpm, size: int, ak_modulus: int, user_data: t.Optional[bytes]) -> hcl.HclReport:
    """The HCL report, bound to the attestation key and showing our user data.

    The paravisor renews it on a read of offset 0, but not within two seconds of the last renewal (then it is stale),
    and another process may have it renewed between two pieces of our reading (then it is torn).
    """
    with _lock(user_data is not None):
        if user_data is not None:
            _write_user_data(tpm, user_data)
        deadline, pause = time.monotonic() + _REPORT_WAIT, 0.5
        while True:
            blob = tpm.nv_read(templates.NV_HCL_REPORT, size)
            try:
                report = hcl.parse(blob)
                hcl.check_binding(report, ak_modulus)
                if user_data is None or report.user_data == user_data:
                    return report
                failure = SkrFailure(
                    "report_stale", f"The HCL report did not show the user data within {_REPORT_WAIT:.0f} seconds."
                )
            except SkrFailure as error:
                failure = error
            if time.monotonic() + pause > deadline or failure.reason == "tee_unsupported":
                raise failure
            time.sleep(pause)
            pause *= 2


def _write_user_data(tpm: Tpm, user_data: bytes) -> None:
    if len(user_data) != 64:
        raise SkrFailure("invalid_input", f"user_data has {len(user_data)} bytes, wanted 64.", {"option": "user_data"})
    index = tpm.nv_read_public(templates.NV_USER_DATA)
    if index is not None and index.size != 64:
        tpm.nv_undefine(templates.NV_USER_DATA)
        index = None
    if index is None:
        tpm.nv_define(templates.NV_USER_DATA, 64, _USER_DATA_ATTRIBUTES)
    tpm.nv_write(templates.NV_USER_DATA, user_data)


class _lock:
    """A host-wide lock, so that two callers do not exchange each other's user data. Best effort: a folder may lack."""

    def __init__(self, wanted: bool) -> None:
        self._wanted, self._fd = wanted, -1

    def __enter__(self) -> None:
        if self._wanted:
            try:
                self._fd = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                self._wait()
            except OSError:
                pass  # reading back the user data still detects an exchange

    def _wait(self) -> None:
        """Bounded, because anybody who may write the folder could hold the lock for ever."""
        deadline = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return
            time.sleep(0.05)

    def __exit__(self, *_exc: t.Any) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _certificate(tpm: Tpm) -> bytes:
    """The AK certificate's NV content, only as far as the certificate goes: the index is larger."""
    index = tpm.nv_read_public(templates.NV_AK_CERT)
    if index is None:
        raise SkrFailure("ak_cert_missing", f"The TPM at {tpm.device} has no AK certificate (index 0x01c101d0).")
    try:
        head = tpm.nv_read(templates.NV_AK_CERT, min(1024, index.size))
    except SkrFailure as error:
        if rc.is_code(error, rc.NV_UNINITIALIZED):
            raise SkrFailure("ak_cert_missing", "The AK certificate's index was never written.") from error
        raise
    if not any(head):
        raise SkrFailure("ak_cert_missing", "The AK certificate's index holds nothing but zeros.")
    length = 4 + int.from_bytes(head[2:4], "big") if head[:2] == b"\x30\x82" else len(head)
    if length > len(head) and length <= index.size:
        head += tpm.nv_read(templates.NV_AK_CERT, length - len(head), len(head))
    return head


def _event_log(path: str) -> bytes:
    """The measured-boot log; a missing or unreadable one is sent as empty, which the service accepts."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def distribution(path: str) -> t.Tuple[str, int, int]:
    """Name, major and minor version of the distribution. The service wants a major version other than 0."""
    fields: t.Dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name, separator, value = line.strip().partition("=")
                if separator:
                    fields[name] = value.strip("\"'")
    except OSError:
        pass
    numbers = [int(part) for part in fields.get("VERSION_ID", "").split(".") if part.isdecimal()]
    major = numbers[0] if numbers else 1
    return fields.get("NAME", "Linux"), major or 1, numbers[1] if len(numbers) > 1 else 0


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def b64u(data: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
