# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TD report and the TD quote of Intel TDX: bytes to structure, no trust implied.

TD report: Intel document 344425, "TDX Module ABI", table "TDREPORT_STRUCT". Quote: Intel, "TDX DCAP Quoting Library API",
appendix 3, versions 4 and 5. Integers are little-endian.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ..policy.failure import SkrFailure

REPORT_SIZE = 1024
REPORT_TYPE = 0x81
HEADER = 48
# Size of the body by its type in a quote of version 5; version 4 has no type and is always the first.
BODY_SIZES = {2: 584, 3: 648}
ECDSA_P256 = 2
TEE_TDX = 0x81
QE_REPORT_SIZE = 384
ATTRIBUTE_DEBUG = 1
_CERTIFIED_QE, _PEM_CHAIN = 6, 5


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What a TD report and a quote's body have in common. RTMRs are the TD's run-time registers."""

    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: bytes
    attributes: bytes
    xfam: bytes
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmrs: t.Tuple[bytes, bytes, bytes, bytes]
    report_data: bytes

    @property
    def debuggable(self) -> bool:
        """The lowest bit of the attributes: the host may look into the TD."""
        return bool(self.attributes[0] & ATTRIBUTE_DEBUG)

    def facts(self) -> t.Dict[str, t.Any]:
        members = (field.name for field in dataclasses.fields(self))
        names = [name for name in members if name not in ("rtmrs", "report_data")]
        return {
            **{name: getattr(self, name).hex() for name in names},
            **{f"rtmr{number}": value.hex() for number, value in enumerate(self.rtmrs)},
            "report_data": self.report_data.hex(),
            "debuggable": self.debuggable,
        }


@dataclasses.dataclass(frozen=True)
class TdReport:
    """A parsed TD report. Only the processor that made it can check its MAC; a quote is what others can check."""

    raw: bytes
    measurements: Measurements

    @property
    def report_data(self) -> bytes:
        return self.measurements.report_data


@dataclasses.dataclass(frozen=True)
class Quote:
    """A parsed quote: what is signed, the signature, and what leads from the signing key to Intel's root."""

    raw: bytes
    version: int
    key_type: int
    tee_type: int
    qe_vendor: bytes
    measurements: Measurements
    tee_tcb_svn_2: t.Optional[bytes]  # the last two are of bodies of type 3 only
    mrservicetd: t.Optional[bytes]
    signed: bytes
    signature: bytes
    attestation_key: bytes  # X and Y of a P-256 point, big-endian
    qe_report: bytes
    qe_signature: bytes
    auth_data: bytes
    chain_pem: str

    @property
    def report_data(self) -> bytes:
        return self.measurements.report_data

    @property
    def qe_report_data(self) -> bytes:
        return self.qe_report[320:384]

    def facts(self) -> t.Dict[str, t.Any]:
        """Public facts, the measurements among them."""
        found = {
            "quote_version": self.version,
            **self.measurements.facts(),
            "qe_mrenclave": self.qe_report[64:96].hex(),
            "qe_mrsigner": self.qe_report[128:160].hex(),
            "qe_isv_prod_id": int.from_bytes(self.qe_report[256:258], "little"),
            "qe_isv_svn": int.from_bytes(self.qe_report[258:260], "little"),
        }
        if self.tee_tcb_svn_2 is not None and self.mrservicetd is not None:
            found.update(tee_tcb_svn_2=self.tee_tcb_svn_2.hex(), mrservicetd=self.mrservicetd.hex())
        return found


def parse_report(raw: bytes) -> TdReport:
    """Take a TD report apart; what is behind its 1,024 bytes is ignored. Raises SkrFailure ``report_malformed``."""
    if len(raw) < REPORT_SIZE or raw[0] != REPORT_TYPE:
        found = f"{len(raw)} bytes and is of type 0x{raw[0]:02x}" if raw else "no bytes"
        raise SkrFailure(
            "report_malformed",
            f"The TD report has {found}, wanted {REPORT_SIZE} and 0x{REPORT_TYPE:02x}.",
            {"size": len(raw)},
        )
    raw = raw[:REPORT_SIZE]
    td = 512  # TDINFO_STRUCT, behind TEE_TCB_INFO at 256
    return TdReport(
        raw,
        Measurements(
            tee_tcb_svn=raw[264:280],
            mrseam=raw[280:328],
            mrsignerseam=raw[328:376],
            seam_attributes=raw[376:384],
            attributes=raw[td : td + 8],
            xfam=raw[td + 8 : td + 16],
            mrtd=raw[td + 16 : td + 64],
            mrconfigid=raw[td + 64 : td + 112],
            mrowner=raw[td + 112 : td + 160],
            mrownerconfig=raw[td + 160 : td + 208],
            rtmrs=_rtmrs(raw, td + 208),
            report_data=raw[128:192],
        ),
    )


def parse_quote(raw: bytes) -> Quote:
    """Take a quote apart; what is behind its signature is ignored.

    Raises SkrFailure ``td_quote_malformed``, or ``td_quote_kind`` for a layout this reader does not know.
    """
    try:
        return _parse_quote(raw)
    except struct.error as error:
        raise _malformed("it ends before its own lengths say", raw) from error


def _parse_quote(raw: bytes) -> Quote:
    version, key_type, tee_type = struct.unpack_from("<HHI", raw, 0)
    if version not in (4, 5):
        raise SkrFailure("td_quote_kind", f"The TD quote has version {version}, wanted 4 or 5.", {"version": version})
    kind, at = 2, HEADER
    if version == 5:
        kind, size = struct.unpack_from("<HI", raw, at)
        at += 6
        if BODY_SIZES.get(kind) != size:
            raise SkrFailure(
                "td_quote_kind",
                f"The TD quote's body is of type {kind} with {size} bytes, wanted type 2 with 584 or 3 with 648.",
                {"body_type": kind, "body_size": size},
            )
    body, at = _take(raw, at, BODY_SIZES[kind])
    signed = raw[:at]
    area, _behind = _sized(raw, at)
    signature, at = _take(area, 0, 64)
    attestation_key, at = _take(area, at, 64)
    outer, at = _typed(area, at, _CERTIFIED_QE, "certified quoting enclave")
    qe_report, at = _take(outer, 0, QE_REPORT_SIZE)
    qe_signature, at = _take(outer, at, 64)
    auth_data, at = _take(outer, at + 2, struct.unpack_from("<H", outer, at)[0])
    chain, _at = _typed(outer, at, _PEM_CHAIN, "chain of certificates in PEM")
    return Quote(
        raw=raw,
        version=version,
        key_type=key_type,
        tee_type=tee_type,
        qe_vendor=raw[12:28],
        measurements=_body(body),
        tee_tcb_svn_2=body[584:600] if kind == 3 else None,
        mrservicetd=body[600:648] if kind == 3 else None,
        signed=signed,
        signature=signature,
        attestation_key=attestation_key,
        qe_report=qe_report,
        qe_signature=qe_signature,
        auth_data=auth_data,
        chain_pem=chain.rstrip(b"\0").decode("ascii", "replace"),
    )


def _body(body: bytes) -> Measurements:
    return Measurements(
        tee_tcb_svn=body[0:16],
        mrseam=body[16:64],
        mrsignerseam=body[64:112],
        seam_attributes=body[112:120],
        attributes=body[120:128],
        xfam=body[128:136],
        mrtd=body[136:184],
        mrconfigid=body[184:232],
        mrowner=body[232:280],
        mrownerconfig=body[280:328],
        rtmrs=_rtmrs(body, 328),
        report_data=body[520:584],
    )


def _rtmrs(data: bytes, at: int) -> t.Tuple[bytes, bytes, bytes, bytes]:
    return data[at : at + 48], data[at + 48 : at + 96], data[at + 96 : at + 144], data[at + 144 : at + 192]


def _take(data: bytes, at: int, size: int) -> t.Tuple[bytes, int]:
    """A piece and the place behind it. Raises struct.error where there is less."""
    if len(data) < at + size:
        raise struct.error
    return data[at : at + size], at + size


def _sized(data: bytes, at: int) -> t.Tuple[bytes, int]:
    return _take(data, at + 4, struct.unpack_from("<I", data, at)[0])


def _typed(data: bytes, at: int, wanted: int, what: str) -> t.Tuple[bytes, int]:
    kind = struct.unpack_from("<H", data, at)[0]
    if kind != wanted:
        raise SkrFailure(
            "td_quote_kind",
            f"The TD quote has certification data of type {kind}, wanted {wanted} ({what}).",
            {"certification_data": kind},
        )
    return _sized(data, at + 2)


def _malformed(what: str, raw: bytes) -> SkrFailure:
    return SkrFailure("td_quote_malformed", f"The TD quote is malformed: {what}.", {"size": len(raw)})
