# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved evidence as material for verification: what kind a file is of is seen from its content.

Besides the raw forms there is a document that holds several (``--evidence``; the module hardware_report_info makes one):
``hcl_report``, ``snp_report``, ``vcek``, ``vcek_chain``, ``td_quote``, ``ak_certificate``, ``tpm_quote`` with ``message``,
``signature`` and ``pcrs``, ``event_log``. Binary members are base64 of either alphabet, or hex, or lists of numbers.
"""

from __future__ import annotations

import base64
import binascii
import string
import struct
import typing as t

from ..policy.failure import SkrFailure
from . import der, documents, hcl, quote, snp
from .verify import Material, TpmQuote

_MAX_FILE = 1 << 20
_HEX = frozenset(string.hexdigits.encode())
_PEM = b"-----BEGIN CERTIFICATE-----"


def read(option: str, path: str) -> bytes:
    """The content of a file. Raises SkrFailure ``invalid_input``."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise _invalid(option, path, f"a readable file: {error.strerror}") from error
    if len(content) > _MAX_FILE:
        raise _invalid(option, path, f"a file of at most {_MAX_FILE} bytes")
    return content


def text(option: str, path: str) -> str:
    """A file of text, such as PEM or a token."""
    try:
        return read(option, path).decode("ascii").strip()
    except UnicodeDecodeError:
        raise _invalid(option, path, "a file of plain text") from None


def document(option: str, path: str) -> t.Dict[str, t.Any]:
    """A file with a JSON object."""
    try:
        found = documents.loads(read(option, path))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _invalid(option, path, "a file with a JSON object")
    return found


def add_report(material: Material, option: str, path: str) -> None:
    """An HCL report, a bare SNP report, a TD quote or a document of evidence. Raises SkrFailure ``invalid_input``."""
    content = read(option, path)
    if content[:4] == hcl.SIGNATURE:
        material.hcl_report = content
    elif len(content) == snp.SIZE:
        material.snp_report = content
    elif len(content) >= 8 and struct.unpack_from("<HHI", content)[0] in (4, 5):
        material.td_quote = content
    elif content.lstrip()[:1] == b"{":
        add_evidence(material, option, path)
    else:
        raise _invalid(
            option, path, f"an HCL report (begins with HCLA), an SNP report of {snp.SIZE} bytes, or a TD quote"
        )


def add_evidence(material: Material, option: str, path: str) -> None:
    """A document with several members (see the module's description). Raises SkrFailure ``invalid_input``."""
    found = document(option, path)
    for member in ("hcl_report", "snp_report", "td_quote", "ak_certificate", "event_log"):
        if found.get(member) is not None:
            setattr(material, member, _binary(option, member, found[member]))
    if found.get("vcek") is not None:
        vcek = found["vcek"]
        pem = isinstance(vcek, str) and _PEM.decode() in vcek
        blocks = _pem(option, vcek) if pem else [_binary(option, "vcek", vcek)]
        material.certificates = [*(material.certificates or []), *blocks]
    if found.get("vcek_chain") is not None:
        material.certificates = [*(material.certificates or []), *_pem(option, found["vcek_chain"])]
    if found.get("tpm_quote") is not None:
        material.tpm_quote = tpm_quote(option, found["tpm_quote"])
    if not set(found) & {"hcl_report", "snp_report", "td_quote", "ak_certificate", "tpm_quote", "event_log"}:
        raise _invalid(option, path, "a document with at least one of hcl_report, snp_report, td_quote, tpm_quote")


def add_certificates(material: Material, option: str, path: str) -> None:
    """Certificates of a processor's key and its issuers: PEM or DER. Raises SkrFailure ``invalid_input``."""
    content = read(option, path)
    blocks = _pem(option, content.decode("ascii", "replace")) if _PEM in content else [content]
    material.certificates = [*(material.certificates or []), *blocks]


def certificate(option: str, path: str) -> bytes:
    """One certificate in PEM or DER; zeros behind it, as the TPM's index has them, do not matter."""
    content = read(option, path)
    if _PEM not in content:
        return content
    blocks = _pem(option, content.decode("ascii", "replace"))
    if len(blocks) != 1:
        raise _invalid(option, path, f"one certificate; it has {len(blocks)}")
    return blocks[0]


def tpm_quote(option: str, found: t.Any) -> TpmQuote:
    """A quote as JSON: ``message`` (or ``quote``), ``signature``, ``pcrs`` (a list from 0 on, or an object by number)."""
    if not isinstance(found, dict) or "signature" not in found or "pcrs" not in found:
        raise _malformed(option, "tpm_quote", "an object with message, signature and pcrs")
    message = _binary(option, "message", found.get("message", found.get("quote")))
    signature = _binary(option, "signature", found["signature"])
    if message[2:6] == quote.GENERATED and int.from_bytes(message[:2], "big") == len(message) - 2:
        message = message[2:]  # with the size of a TPM2B
    if signature[:4] == b"\x00\x14\x00\x0b" and int.from_bytes(signature[4:6], "big") == len(signature) - 6:
        signature = signature[6:]  # a whole TPMT_SIGNATURE: RSASSA, SHA-256
    pcrs = found["pcrs"]
    rows = dict(enumerate(pcrs)) if isinstance(pcrs, list) else pcrs
    if not isinstance(rows, dict):
        raise _malformed(option, "pcrs", "a list or an object")
    try:
        values = {int(pcr): _binary(option, f"pcrs.{pcr}", value) for pcr, value in rows.items()}
    except ValueError:
        raise _malformed(option, "pcrs", "numbers as names") from None
    return TpmQuote(message, signature, values)


def _binary(option: str, member: str, found: t.Any) -> bytes:
    """Bytes as hex, base64 of either alphabet with or without padding, or a list of numbers."""
    if isinstance(found, list):
        try:
            return bytes(found)
        except (TypeError, ValueError):
            raise _malformed(option, member, "numbers from 0 to 255") from None
    if not isinstance(found, str):
        raise _malformed(option, member, "hex or base64")
    compact = "".join(found.split()).encode("ascii", "replace")
    if len(compact) % 2 == 0 and set(compact) <= _HEX:
        return bytes.fromhex(compact.decode("ascii"))
    plain = compact.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(option, member, "hex or base64") from None


def _pem(option: str, content: t.Any) -> t.List[bytes]:
    try:
        blocks = der.pem_certificates(content) if isinstance(content, str) else []
    except ValueError:
        blocks = []
    if not blocks:
        raise _malformed(option, "the chain", "certificates in PEM")
    return blocks


def _invalid(option: str, path: str, wanted: str) -> SkrFailure:
    return SkrFailure("invalid_input", f"{option} is {path!r}, wanted {wanted}.", {"option": option})


def _malformed(option: str, member: str, wanted: str) -> SkrFailure:
    return SkrFailure(
        "invalid_input", f"{member} in the file of {option} is malformed, wanted {wanted}.", {"option": option}
    )
