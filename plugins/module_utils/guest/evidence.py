# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects what a VM can prove about itself into one attestation request.

The steps, in order:

1. Find out what isolates the VM: with no HCL report in the vTPM it is a Trusted Launch VM.
2. Read the HCL report, again while it is stale or torn, and check that it is bound to this TPM's attestation key.
3. Fetch what endorses it, a VCEK chain (SNP) or a quote (TDX), and verify both; again when they do not belong together.
4. Read the AK certificate; renew it where that is due and wanted.
5. Read the PCRs, make the ephemeral key bound to them, quote the PCRs and certify the key; again when they moved.
6. Verify the statements, which turns a later refusal by the service into a clear message.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t
import warnings

from ..policy.failure import SkrFailure, SkrWarning
from . import akcert, eventlog, hcl, hcl_index, quote, tee
from .tee import b64, b64u
from .tpm2 import Tpm, rc, templates, wire
from .tpm2.client import Attest

PCRS = (0, 1, 2, 3, 4, 5, 6, 7)
EVENT_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
OS_RELEASE = "/etc/os-release"
_AK_WANTED = 0x00050072 & ~0x40  # sign, restricted, fixedTPM, fixedParent, sensitiveDataOrigin
_PCR_ROUNDS = 3
_MAX_LOG = 1 << 20


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
    tee: tee.Tee
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
            "IsolationInfo": self.tee.isolation(),
        }
        return {"AttestationInfo": b64u(json.dumps(inner, separators=(",", ":")).encode())}

    def facts(self) -> t.Dict[str, t.Any]:
        """Public facts for results and evidence."""
        values = dict(zip(self.pcrs, self.pcr_values))
        return {
            **self.tee.facts(),
            "pcrs": {str(pcr): value.hex() for pcr, value in values.items()},
            "event_log": eventlog.summary(self.event_log, values),
            **self.ak_certificate.facts(),
        }


def collect(
    tpm: Tpm,
    fetch_chain: t.Callable[[], str],
    extra_roots_pem: str = "",
    user_data: t.Optional[bytes] = None,
    pcrs: t.Sequence[int] = PCRS,
    event_log_path: str = EVENT_LOG,
    os_release_path: str = OS_RELEASE,
    fetch_quote: t.Optional[t.Callable[[bytes], bytes]] = None,
    require: str = "any",
    renew: t.Optional[t.Callable[[akcert.AkCertificate], akcert.AkCertificate]] = None,
) -> Evidence:
    """Collect the evidence of this VM (steps in the module's description).

    ``fetch_chain`` returns PEM text of VCEK, ASK and ARK, ``fetch_quote`` makes a TD quote of a TD report;
    ``extra_roots_pem`` are roots to accept besides AMD's and Intel's; ``require`` is one of ``tee.REQUIRE``; ``renew`` is
    given the AK certificate and returns it, or a newer one. Raises SkrFailure.
    """
    pcrs = check_pcrs(pcrs)
    # 1 to 3 (absence of the report comes first: it tells a confidential VM from any other)
    isolation, ak_area, ak = isolated(tpm, fetch_chain, fetch_quote, extra_roots_pem, user_data, require)
    # 4
    certificate = akcert.read(certificate_content(tpm), ak.modulus)
    if renew is not None:
        certificate = renew(certificate)
    akcert.check_dates(certificate)
    told = certificate.warning()
    if told:
        warnings.warn(SkrWarning(told), stacklevel=2)
    for attempt in range(_PCR_ROUNDS):
        # 5
        log = read_event_log(event_log_path)
        values = tpm.pcr_read(pcrs)
        policy = templates.pcr_policy(pcrs, templates.pcr_digest(values))
        handle, key_area = tpm.create_primary(wire.RH_NULL, templates.ephemeral_template(policy))
        try:
            quoted = tpm.quote(templates.AK_HANDLE, pcrs)
            certified = tpm.certify(handle, templates.AK_HANDLE)
            # 6
            _check(ak, pcrs, values, quoted, certified, key_area)
            if read_event_log(event_log_path) != log:  # the service refuses a log that tells of more than was quoted
                raise SkrFailure("pcr_changed", f"The event log grew during each of {_PCR_ROUNDS} quotes.")
            break
        except SkrFailure as error:
            tpm.discard(handle)
            if error.reason != "pcr_changed" or attempt == _PCR_ROUNDS - 1:
                raise
    return Evidence(
        tpm, pcrs, values, ak_area, certificate, isolation, handle, key_area, quoted, certified,
        log, distribution(os_release_path),
    )  # fmt: skip


def check_pcrs(pcrs: t.Sequence[int]) -> t.Tuple[int, ...]:
    """The PCRs to quote, in ascending order. Raises SkrFailure ``invalid_input``."""
    if not pcrs or not all(isinstance(pcr, int) and 0 <= pcr <= 23 for pcr in pcrs):
        raise SkrFailure(
            "invalid_input", f"pcrs is {list(pcrs)!r}, wanted at least one number from 0 to 23.", {"option": "pcrs"}
        )
    return tuple(sorted(set(pcrs)))


def attestation_key(tpm: Tpm) -> t.Tuple[bytes, wire.RsaPublic]:
    """Public area and parsed form of the attestation key. Raises SkrFailure ``ak_missing``."""
    area = tpm.read_public(templates.AK_HANDLE)
    if area is None:
        raise SkrFailure("ak_missing", f"The TPM at {tpm.device} has no key at 0x{templates.AK_HANDLE:08x}.")
    ak = wire.rsa_public(area)
    if ak.attributes & _AK_WANTED != _AK_WANTED:
        raise SkrFailure(
            "ak_missing", f"The key at 0x{templates.AK_HANDLE:08x} is no restricted signing key of this TPM."
        )
    return area, ak


def isolated(
    tpm: Tpm,
    fetch_chain: t.Callable[[], str],
    fetch_quote: t.Optional[t.Callable[[bytes], bytes]],
    extra_roots_pem: str,
    user_data: t.Optional[bytes],
    require: str,
) -> t.Tuple[tee.Tee, bytes, wire.RsaPublic]:
    """Steps 1 to 3: what isolates this VM, with its proof verified; and the attestation key."""
    index = tpm.nv_read_public(templates.NV_HCL_REPORT)
    if index is None:
        tee.check_required("none", require)
        if user_data is not None:
            raise SkrFailure(
                "not_a_cvm",
                f"The TPM at {tpm.device} has no HCL report, so no report can carry user data.",
                {"option": "user_data"},
            )
        return (tee.TrustedLaunch(), *attestation_key(tpm))
    area, ak = attestation_key(tpm)

    def read_report() -> hcl.HclReport:
        return hcl_index.read(tpm, index.size, ak.modulus, user_data)

    found = tee.endorse(read_report, fetch_chain, fetch_quote or _no_quote, extra_roots_pem, require)
    return found, area, ak


def _no_quote(_report: bytes) -> bytes:
    raise SkrFailure("td_quote_unavailable", "Nobody was named who makes quotes of TD reports.")


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


def certificate_content(tpm: Tpm) -> bytes:
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


def read_event_log(path: str) -> bytes:
    """The measured-boot log; a missing or unreadable one is sent as empty, which the service accepts."""
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_LOG)
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
