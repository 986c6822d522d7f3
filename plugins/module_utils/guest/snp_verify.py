# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an SNP report genuine: signed by a VCEK of that chip and firmware level, under AMD's root.

Certificates: AMD document 57230, "VCEK Certificate and KDS Interface Specification".
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy.failure import SkrFailure
from . import amd_roots, crypto, der, snp

_OID = "1.3.6.1.4.1.3704.1"
OID_PRODUCT, OID_HWID = f"{_OID}.2", f"{_OID}.4"
OID_TCB = {
    "boot_loader": f"{_OID}.3.1",
    "tee": f"{_OID}.3.2",
    "snp": f"{_OID}.3.3",
    "microcode": f"{_OID}.3.8",
    "fmc": f"{_OID}.3.9",
}
_PSS = "1.2.840.113549.1.1.10"
# What a certificate that is damaged inside its frame makes of this reader and of the library.
_UNREADABLE = (der.DerError, ValueError, IndexError)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The certificates above a report, leaf first."""

    vcek: der.Certificate
    ask: der.Certificate
    ark: der.Certificate

    @property
    def product(self) -> str:
        """Milan, Genoa or Turin, by the name of the VCEK's issuer (SEV-Milan ...)."""
        name = self.vcek.common_name("issuer")
        for product in ("Milan", "Genoa", "Turin"):
            if product in name:
                return product
        raise SkrFailure("vcek_chain", f"The VCEK's issuer is {name!r}, wanted SEV-Milan, SEV-Genoa or SEV-Turin.")


def parse_chain(pem: str) -> Chain:
    """VCEK, ASK and ARK from PEM text in this order. Raises SkrFailure ``vcek_chain``."""
    try:
        certificates = [der.certificate(block) for block in der.pem_certificates(pem)]
    except (*_UNREADABLE, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("vcek_chain", f"The VCEK chain cannot be read: {error}.") from error
    if len(certificates) != 3:
        raise SkrFailure(
            "vcek_chain", f"The VCEK chain has {len(certificates)} certificates, wanted VCEK, ASK and ARK."
        )
    return Chain(*certificates)


def belongs(report: snp.SnpReport, chain: Chain) -> None:
    """The VCEK is of the report's chip and firmware level.

    1. Hardware id = chip id; not asked where the host masks the chip id. Turin's has 8 bytes.
    2. TCB extensions = the report's reported TCB.

    Raises SkrFailure ``vcek_chip`` or ``vcek_tcb``.
    """
    # 1
    hardware = chain.vcek.extensions.get(OID_HWID, b"")
    size = 8 if chain.product == "Turin" else 64
    if any(report.chip_id) and hardware[:size] != report.chip_id[:size]:
        raise SkrFailure(
            "vcek_chip",
            f"The VCEK is of chip {hardware[:8].hex()}..., the report of chip {report.chip_id[:8].hex()}....",
            {"vcek": hardware.hex(), "report": report.chip_id.hex()},
        )
    # 2
    wanted, found = report.tcb(chain.product), _tcb(chain)
    if wanted != found:
        raise SkrFailure(
            "vcek_tcb",
            f"The VCEK is for firmware level ({found.text()}), the report has ({wanted.text()}).",
            {"vcek": found.as_dict(), "report": wanted.as_dict()},
        )


def _tcb(chain: Chain) -> snp.Tcb:
    values: t.Dict[str, int] = {}
    for name, identifier in OID_TCB.items():
        content = chain.vcek.extensions.get(identifier)
        if content is not None:
            try:
                values[name] = int.from_bytes(der.expect(content, der.INTEGER).content, "big")
            except der.DerError as error:
                raise SkrFailure("vcek_chain", f"The VCEK's TCB extension {name} cannot be read: {error}.") from error
    missing = {"boot_loader", "tee", "snp", "microcode"} - set(values)
    if missing:
        raise SkrFailure("vcek_chain", f"The VCEK lacks the TCB extension {sorted(missing)[0]}.")
    fmc = values.get("fmc") if chain.product == "Turin" else None
    return snp.Tcb(values["boot_loader"], values["tee"], values["snp"], values["microcode"], fmc)


def verify(report: snp.SnpReport, chain: Chain, extra_roots_pem: str = "") -> None:
    """The whole verification.

    1. The root is AMD's ARK, or one of ``extra_roots_pem``, byte for byte.
    2. ARK signed ASK, ASK signed VCEK: RSA-PSS, SHA-384, salt of 48 bytes.
    3. The report says that a VCEK signed it, with ECDSA P-384 and SHA-384.
    4. The VCEK is of this chip and firmware level.
    5. The report's signature verifies under the VCEK's key.

    Raises SkrFailure ``vcek_chain``, ``vcek_chip``, ``vcek_tcb``, ``report_malformed`` or ``report_signature``;
    ``invalid_input`` when ``extra_roots_pem`` is damaged.
    """
    try:
        _verify(report, chain, extra_roots_pem)
    except (*_UNREADABLE, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("vcek_chain", f"A certificate of the VCEK chain is damaged: {error}.") from error


def _verify(report: snp.SnpReport, chain: Chain, extra_roots_pem: str) -> None:
    # 1
    try:
        roots = [root for pem in (*amd_roots.ARK.values(), extra_roots_pem) for root in der.pem_certificates(pem)]
    except ValueError as error:
        raise SkrFailure(
            "invalid_input",
            f"report_roots_path does not hold PEM certificates ({error}).",
            {"option": "report_roots_path"},
        ) from error
    if chain.ark.der not in roots:
        raise SkrFailure(
            "vcek_chain", f"The root {chain.ark.common_name()!r} of the VCEK chain is not a pinned AMD root."
        )
    # 2
    _issued(chain.ark, chain.ark)
    _issued(chain.ask, chain.ark)
    _issued(chain.vcek, chain.ask)
    # 3
    if report.signature_algorithm != 1 or report.signing_key != "VCEK":
        raise SkrFailure(
            "report_malformed",
            f"The report is signed with algorithm {report.signature_algorithm} by {report.signing_key}, wanted 1 by VCEK.",
        )
    # 4
    belongs(report, chain)
    # 5
    key = crypto.load_der_public_key(chain.vcek.public_key)
    if not isinstance(key, crypto.ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise SkrFailure("vcek_chain", "The VCEK's key is not on the curve P-384.")
    try:
        key.verify(
            crypto.encode_dss_signature(*report.signature), report.signed, crypto.ec.ECDSA(crypto.hashes.SHA384())
        )
    except crypto.InvalidSignature:
        raise SkrFailure("report_signature", "The SNP report's signature does not verify under its VCEK.") from None


def _issued(subject: der.Certificate, issuer: der.Certificate) -> None:
    name = subject.common_name()
    if subject.issuer != issuer.subject:
        raise SkrFailure("vcek_chain", f"The certificate {name!r} was not issued by {issuer.common_name()!r}.")
    try:
        key = crypto.load_der_public_key(issuer.public_key)
    except ValueError:
        raise SkrFailure("vcek_chain", f"The key of {issuer.common_name()!r} cannot be read.") from None
    if subject.signature_algorithm != _PSS or not isinstance(key, crypto.rsa.RSAPublicKey):
        raise SkrFailure("vcek_chain", f"The certificate {name!r} is not signed with RSA-PSS.")
    try:
        key.verify(
            subject.signature,
            subject.tbs,
            crypto.padding.PSS(mgf=crypto.padding.MGF1(crypto.hashes.SHA384()), salt_length=48),
            crypto.hashes.SHA384(),
        )
    except crypto.InvalidSignature:
        raise SkrFailure("vcek_chain", f"The signature of certificate {name!r} does not verify.") from None
