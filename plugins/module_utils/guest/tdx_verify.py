# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a TD quote genuine: signed by a quoting enclave that a processor of Intel vouches for.

Intel, "TDX DCAP Quoting Library API", appendix 3; certificates: Intel, "SGX PCK Certificate and CRL Profile". What needs
Intel's collateral (TCB status, identity of the quoting enclave, revocation) is not decided here; ``NOT_CHECKED`` says so.
"""

from __future__ import annotations

import hashlib
import time
import typing as t

from ..policy.failure import SkrFailure
from . import certificates, crypto, der, intel_roots, tdx

INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
NOT_CHECKED = "TCB status, quoting enclave's identity and revocation, which need Intel's collateral"
_SGX = "1.2.840.113741.1.13.1"
_FMSPC = f"{_SGX}.4"
# What a certificate that is damaged inside its frame makes of this reader and of the library.
_UNREADABLE = (der.DerError, ValueError, IndexError)


def verify(
    quote: tdx.Quote, report_data: t.Optional[bytes], extra_roots_pem: str = "", now: t.Optional[float] = None
) -> None:
    """The whole verification.

    1. The quote is of TDX, made by Intel's quoting enclave with an ECDSA key on P-256.
    2. The PCK certificate chains to Intel's root, or to one of ``extra_roots_pem``; with ``now`` also in date.
    3. The quoting enclave's report is signed by the PCK.
    4. That report vouches for the attestation key: its data are the hash of the key and of the authentication data.
    5. The attestation key signed header and body.
    6. The quote was made of this TD report: its report data are those.

    Raises SkrFailure ``td_quote_kind``, ``pck_chain``, ``td_quote_qe``, ``td_quote_key``, ``td_quote_signature`` or
    ``td_quote_binding``; ``invalid_input`` when ``extra_roots_pem`` is damaged.
    """
    # 1
    check_kind(quote)
    # 2
    chain = check_chain(quote, extra_roots_pem)
    if now is not None:
        check_dates(chain, now)
    # 3
    check_enclave(quote, chain[0])
    # 4
    check_key(quote)
    # 5
    check_signature(quote)
    # 6
    if report_data is not None:
        check_report_data(quote, report_data)


def check_kind(quote: tdx.Quote) -> None:
    """Step 1. Raises SkrFailure ``td_quote_kind``."""
    found = (quote.tee_type, quote.key_type, quote.qe_vendor)
    if found != (tdx.TEE_TDX, tdx.ECDSA_P256, INTEL_QE_VENDOR):
        raise SkrFailure(
            "td_quote_kind",
            f"The TD quote is of TEE type 0x{quote.tee_type:x}, key type {quote.key_type}, vendor "
            f"{quote.qe_vendor.hex()}, wanted 0x81, 2 and {INTEL_QE_VENDOR.hex()}.",
            {"tee_type": quote.tee_type, "key_type": quote.key_type, "qe_vendor": quote.qe_vendor.hex()},
        )


def check_chain(quote: tdx.Quote, extra_roots_pem: str = "") -> t.List[der.Certificate]:
    """Step 2; the chain from the PCK certificate to the root. Raises SkrFailure ``pck_chain`` or ``invalid_input``."""
    try:
        extra = der.pem_certificates(extra_roots_pem)
    except ValueError as error:
        raise SkrFailure(
            "invalid_input",
            f"report_roots_path does not hold PEM certificates ({error}).",
            {"option": "report_roots_path"},
        ) from error
    try:
        chain = [der.certificate(block) for block in der.pem_certificates(quote.chain_pem)]
        if len(chain) < 2:
            raise SkrFailure(
                "pck_chain", f"The TD quote's chain has {len(chain)} certificates, wanted PCK, authority and root."
            )
        root = chain[-1]
        if root.der not in extra and _point(root) != intel_roots.SGX_ROOT_CA:
            raise SkrFailure(
                "pck_chain", f"The root {root.common_name()!r} of the TD quote is not Intel's pinned root."
            )
        for below, (subject, issuer) in enumerate(zip(chain, [*chain[1:], root])):
            if not certificates.issued(subject, issuer, max(min(below, len(chain) - 2), 0)):
                raise SkrFailure(
                    "pck_chain",
                    f"The certificate {subject.common_name()!r} was not issued by {issuer.common_name()!r}.",
                )
    except (*_UNREADABLE, crypto.UnsupportedAlgorithm) as error:
        raise SkrFailure("pck_chain", f"A certificate of the TD quote is damaged: {error}.") from error
    return chain


def check_dates(chain: t.Iterable[der.Certificate], now: float) -> None:
    """Part of step 2. Raises SkrFailure ``pck_chain``."""
    for one in certificates.out_of_date(chain, now):
        raise SkrFailure(
            "pck_chain",
            f"The certificate {one.common_name()!r} is valid from {_day(one.not_before)} to {_day(one.not_after)} only.",
        )


def check_enclave(quote: tdx.Quote, pck: der.Certificate) -> None:
    """Step 3. Raises SkrFailure ``td_quote_qe``."""
    key = certificates.public_key(pck)
    if not isinstance(key, crypto.ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise SkrFailure("pck_chain", "The PCK certificate's key is not on the curve P-256.")
    if not _signed(key, quote.qe_signature, quote.qe_report):
        raise SkrFailure("td_quote_qe", "The quoting enclave's report is not signed by the PCK of the TD quote.")


def check_key(quote: tdx.Quote) -> None:
    """Step 4. Raises SkrFailure ``td_quote_key``."""
    wanted = hashlib.sha256(quote.attestation_key + quote.auth_data).digest().ljust(64, b"\0")
    if quote.qe_report_data != wanted:
        raise SkrFailure(
            "td_quote_key",
            "The quoting enclave does not vouch for the key that signed the TD quote.",
            {"wanted": wanted.hex(), "found": quote.qe_report_data.hex()},
        )


def check_signature(quote: tdx.Quote) -> None:
    """Step 5. Raises SkrFailure ``td_quote_signature`` or ``td_quote_key``."""
    x, y = (int.from_bytes(half, "big") for half in (quote.attestation_key[:32], quote.attestation_key[32:]))
    try:
        key = crypto.ec.EllipticCurvePublicNumbers(x, y, crypto.ec.SECP256R1()).public_key()
    except ValueError:
        raise SkrFailure("td_quote_key", "The key that signed the TD quote is no point of the curve P-256.") from None
    if not _signed(key, quote.signature, quote.signed):
        raise SkrFailure("td_quote_signature", "The TD quote's signature does not verify under its attestation key.")


def check_report_data(quote: tdx.Quote, report_data: bytes) -> None:
    """Step 6. Raises SkrFailure ``td_quote_binding``."""
    if quote.report_data != report_data:
        raise SkrFailure(
            "td_quote_binding",
            "The TD quote was made of another TD report than the HCL report's: their report data differ.",
            {"wanted": report_data.hex(), "found": quote.report_data.hex()},
        )


def fmspc(pck: der.Certificate) -> t.Optional[str]:
    """The platform's family, model and stepping from Intel's extension, in hex: the name of its TCB information."""
    try:
        for part in der.children(der.expect(pck.extensions[_SGX], der.SEQUENCE).content):
            name, value = der.children(part.content)[:2]
            if der.oid(name.content) == _FMSPC:
                return value.content.hex()
    except (*_UNREADABLE, KeyError):
        pass
    return None


def _signed(key: crypto.ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    """ECDSA with SHA-256; the signature is R and S of 32 bytes each, big-endian."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(crypto.encode_dss_signature(r, s), data, crypto.ec.ECDSA(crypto.hashes.SHA256()))
    except crypto.InvalidSignature:
        return False
    return True


def _point(certificate: der.Certificate) -> bytes:
    key = certificates.public_key(certificate)
    if not isinstance(key, crypto.ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        return b""
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
