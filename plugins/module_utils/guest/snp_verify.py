# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is an SNP report genuine: signed by a VCEK of that chip and firmware level, or by a VLEK of that level, under AMD's root.

Certificates: AMD document 57230, "VCEK Certificate and KDS Interface Specification"; VLEK: 58369. A VCEK (versioned chip
endorsement key) is of one chip, a VLEK (versioned loaded endorsement key) is of one cloud provider.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy.failure import SkrFailure
from . import amd_authorities, amd_roots, crypto, der, snp

_OID = "1.3.6.1.4.1.3704.1"
OID_PRODUCT, OID_HWID, OID_CSP = f"{_OID}.2", f"{_OID}.4", f"{_OID}.5"
OID_TCB = {
    "boot_loader": f"{_OID}.3.1",
    "tee": f"{_OID}.3.2",
    "snp": f"{_OID}.3.3",
    "microcode": f"{_OID}.3.8",
    "fmc": f"{_OID}.3.9",
}
PRODUCTS = ("Milan", "Genoa", "Turin")
_PSS = "1.2.840.113549.1.1.10"
# What a certificate that is damaged inside its frame makes of this reader and of the library.
_UNREADABLE = (der.DerError, ValueError, IndexError)


@dataclasses.dataclass(frozen=True)
class Chain:
    """The certificates above a report, leaf first: VCEK, ASK, ARK; or VLEK, ASVK, ARK under the same names."""

    vcek: der.Certificate
    ask: der.Certificate
    ark: der.Certificate

    @property
    def kind(self) -> str:
        """VCEK or VLEK. The issuer's name decides, which AMD's root has signed (SEV-Milan, SEV-VLEK-Milan)."""
        return "VLEK" if self.vcek.common_name("issuer").startswith("SEV-VLEK") else "VCEK"

    @property
    def product(self) -> str:
        """Milan, Genoa or Turin, by the name of the issuer. Raises SkrFailure ``product_unknown``."""
        name = self.vcek.common_name("issuer")
        for product in PRODUCTS:
            if product in name:
                return product
        raise SkrFailure(
            "product_unknown",
            f"The {self.kind}'s issuer is {name!r}, wanted SEV-Milan, SEV-Genoa or SEV-Turin.",
            {"issuer": name},
        )

    @property
    def provider(self) -> t.Optional[str]:
        """The cloud provider that a VLEK names."""
        content = self.vcek.extensions.get(OID_CSP)
        try:
            return None if content is None else der.element(content).content.decode("utf-8", "replace")
        except der.DerError:
            return content.decode("utf-8", "replace") if content else None

    @property
    def pem(self) -> str:
        return "".join(der.to_pem(one.der) for one in (self.vcek, self.ask, self.ark))


def parse_chain(pem: str) -> Chain:
    """VCEK, ASK and ARK from PEM text in this order. Raises SkrFailure ``vcek_chain``."""
    certificates = _read(lambda: der.pem_certificates(pem))
    if len(certificates) != 3:
        raise SkrFailure(
            "vcek_chain", f"The VCEK chain has {len(certificates)} certificates, wanted VCEK, ASK and ARK."
        )
    return Chain(*certificates)


def assemble(blocks: t.Sequence[bytes], extra_roots: t.Sequence[bytes] = ()) -> Chain:
    """A chain of certificates in any order, as files hold them; AMD's own authorities are added where they lack.

    Raises SkrFailure ``vcek_chain``.
    """
    published = (*amd_authorities.ASK.values(), *amd_roots.ARK.values())
    known = [one for pem in published for one in der.pem_certificates(pem)]
    found = _read(lambda: [*blocks, *extra_roots, *known])
    given = found[: len(blocks)]
    leaf = next((one for one in given if OID_TCB["boot_loader"] in one.extensions), None)
    if leaf is None:
        raise SkrFailure("vcek_chain", f"None of the {len(given)} certificates is a VCEK or VLEK.")
    chain = [leaf]
    while len(chain) < 3:
        issuer = next((one for one in found if one.subject == chain[-1].issuer and one is not chain[-1]), None)
        if issuer is None:
            name = chain[-1].common_name("issuer")
            raise SkrFailure("vcek_chain", f"The certificate of {name!r} is missing.", {"missing": name})
        chain.append(issuer)
    return Chain(*chain)


def _read(blocks: t.Callable[[], t.List[bytes]]) -> t.List[der.Certificate]:
    try:
        return [der.certificate(block) for block in blocks()]
    except (*_UNREADABLE, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("vcek_chain", f"The VCEK chain cannot be read: {error}.") from error


def verify(report: snp.SnpReport, chain: Chain, extra_roots_pem: str = "") -> None:
    """The whole verification.

    1. The root is AMD's ARK, or one of ``extra_roots_pem``, byte for byte.
    2. ARK signed ASK, ASK signed VCEK (or ASVK and VLEK): RSA-PSS, SHA-384, salt of 48 bytes.
    3. The report says that a key of that kind signed it, with ECDSA P-384 and SHA-384.
    4. The key is of this product, chip and firmware level.
    5. The report's signature verifies under the key.
    6. The processor that the report tells of (version 3 and later) is one that is known.

    Raises SkrFailure ``vcek_chain``, ``vcek_kind``, ``vcek_chip``, ``vcek_tcb``, ``report_malformed``,
    ``report_signature`` or ``product_unknown``; ``invalid_input`` when ``extra_roots_pem`` is damaged.
    """
    # 1, 2
    check_chain(chain, extra_roots_pem)
    # 3
    check_signer(report, chain)
    # 4
    belongs(report, chain)
    # 5
    check_signature(report, chain)
    # 6
    check_product(report)


def check_chain(chain: Chain, extra_roots_pem: str = "") -> None:
    """Steps 1 and 2. Raises SkrFailure ``vcek_chain`` or ``invalid_input``."""
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
    try:
        _issued(chain.ark, chain.ark)
        _issued(chain.ask, chain.ark)
        _issued(chain.vcek, chain.ask)
    except (*_UNREADABLE, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("vcek_chain", f"A certificate of the VCEK chain is damaged: {error}.") from error


def check_signer(report: snp.SnpReport, chain: Chain) -> None:
    """Step 3. Raises SkrFailure ``report_malformed``, or ``vcek_kind`` where the chain is of the other kind of key."""
    if report.signature_algorithm != 1 or report.signing_key not in ("VCEK", "VLEK"):
        raise SkrFailure(
            "report_malformed",
            f"The report is signed with algorithm {report.signature_algorithm} by {report.signing_key}, "
            "wanted 1 by VCEK or VLEK.",
        )
    if report.signing_key != chain.kind:
        raise SkrFailure(
            "vcek_kind",
            f"The report is signed by a {report.signing_key}, the certificate is of a {chain.kind}.",
            {"report": report.signing_key, "certificate": chain.kind},
        )


def belongs(report: snp.SnpReport, chain: Chain) -> None:
    """Step 4.

    1. The product that the report tells (version 3 and later) is that of the certificate's issuer.
    2. Hardware id = chip id; not asked where the host masks the chip id, nor of a VLEK. Turin's has 8 bytes.
    3. TCB extensions = the report's reported TCB.

    Raises SkrFailure ``product_unknown``, ``vcek_chip`` or ``vcek_tcb``.
    """
    # 1
    product = chain.product
    if report.product not in (None, product):
        raise SkrFailure(
            "vcek_chip",
            f"The {chain.kind} is of a {product} processor, the report of a {report.product}.",
            {"vcek": product, "report": report.product},
        )
    # 2
    hardware, size = _hardware_id(chain), 8 if product == "Turin" else 64
    if chain.kind == "VCEK" and any(report.chip_id) and hardware != report.chip_id[:size]:
        raise SkrFailure(
            "vcek_chip",
            f"The VCEK is of chip {hardware[:8].hex()}..., the report of chip {report.chip_id[:8].hex()}....",
            {"vcek": hardware.hex(), "report": report.chip_id.hex()},
        )
    # 3
    wanted, found = report.tcb(product), _tcb(chain)
    if wanted != found:
        raise _other_level(chain.kind, wanted, found)


def _hardware_id(chain: Chain) -> bytes:
    """The raw bytes; should a certificate wrap them into an OCTET STRING, what is in it."""
    content = chain.vcek.extensions.get(OID_HWID, b"")
    size = 8 if chain.product == "Turin" else 64
    return content[2:] if len(content) == size + 2 and content[:2] == bytes([der.OCTETS, size]) else content


def _other_level(kind: str, report: snp.Tcb, certificate: snp.Tcb) -> SkrFailure:
    """Lower: the certificate service lags behind an update of the host. Higher: it is ahead, or the host went back."""
    pairs = [(ours or 0, theirs or 0) for ours, theirs in zip(report.parts(), certificate.parts())]
    lower, higher = any(theirs < ours for ours, theirs in pairs), any(theirs > ours for ours, theirs in pairs)
    direction = "mixed" if lower and higher else "lower" if lower else "higher"
    words = {"lower": "a lower", "higher": "a higher", "mixed": "another"}[direction]
    steps = {
        "lower": "Run again later: the host's firmware was just updated and its certificate service has not followed.",
        "higher": "Run again later: the certificate is ahead of the host, whose firmware update is not yet in effect "
        "or was taken back.",
    }
    return SkrFailure(
        "vcek_tcb",
        f"The {kind} is for {words} firmware level ({certificate.text()}) than the report has ({report.text()}).",
        {"vcek": certificate.as_dict(), "report": report.as_dict(), "direction": direction},
        next_step=steps.get(direction),
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


def check_signature(report: snp.SnpReport, chain: Chain) -> None:
    """Step 5. Raises SkrFailure ``report_signature`` or ``vcek_chain``."""
    try:
        key = crypto.load_der_public_key(chain.vcek.public_key)
    except (ValueError, crypto.UnsupportedAlgorithm):
        key = None
    if not isinstance(key, crypto.ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        raise SkrFailure("vcek_chain", f"The {chain.kind}'s key is not on the curve P-384.")
    try:
        key.verify(
            crypto.encode_dss_signature(*report.signature), report.signed, crypto.ec.ECDSA(crypto.hashes.SHA384())
        )
    except crypto.InvalidSignature:
        raise SkrFailure(
            "report_signature", f"The SNP report's signature does not verify under its {chain.kind}."
        ) from None


def check_product(report: snp.SnpReport) -> None:
    """Step 6. Raises SkrFailure ``product_unknown``."""
    if report.cpuid is not None and report.product is None:
        family, model, stepping = report.cpuid
        raise SkrFailure(
            "product_unknown",
            f"The report is of CPU family 0x{family:x}, model 0x{model:x}, wanted Milan, Genoa or Turin.",
            {"family": family, "model": model, "stepping": stepping},
        )


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


# --- genuine is not yet wanted


def check_debug(report: snp.SnpReport) -> None:
    """The launch policy forbids debugging. Raises SkrFailure ``report_debug``."""
    if report.debuggable:
        raise SkrFailure(
            "report_debug",
            f"The launch policy 0x{report.policy:x} allows debugging: the host may read this VM's memory.",
            {"policy": report.policy},
        )


def check_vmpl(report: snp.SnpReport, wanted: int) -> None:
    """Raises SkrFailure ``report_vmpl``."""
    if report.vmpl != wanted:
        raise SkrFailure(
            "report_vmpl",
            f"The report was asked for at VMPL {report.vmpl}, wanted {wanted}.",
            {"found": report.vmpl, "wanted": wanted},
        )


def check_migration(report: snp.SnpReport) -> None:
    """No migration agent is or may be bound to the VM. Raises SkrFailure ``report_migration``."""
    if report.migratable:
        raise SkrFailure(
            "report_migration",
            f"The launch policy 0x{report.policy:x} or an agent's report id allows migration by an agent.",
            {"policy": report.policy, "migration_agent": report.migration_agent.hex()},
        )
