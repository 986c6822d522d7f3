# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the TPM and what it holds: device, kind of VM, attestation key and certificate, boot registers and log."""

from __future__ import annotations

import errno
import functools
import glob
import grp
import os
import pwd
import stat
import time
import typing as t

from ...policy.failure import SkrFailure
from .. import akcert, eventlog, hcl, snp
from ..evidence import PCRS
from ..tpm2 import Tpm, open_tpm, rc, templates, wire
from . import findings
from .findings import Finding
from .patient import Notes, Told, Wanted, guarded, need_cryptography

WARNING_DAYS = 90
PLATFORM_CREATED = 0x40000000
_AGAIN = 0.6  # seconds until a report that was renewed while it was read is read again
_MAX_LOG = 1 << 24
# TPMA_OBJECT (TCG TPM 2.0 Library, Part 2, 8.3): fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign.
_RESTRICTED_SIGNING = 0x2 | 0x10 | 0x20 | 0x10000 | 0x40000
REST = ("vm_type", "ak", "ak_certificate", "pcr_bank")


def examine(wanted: Wanted, notes: Notes) -> t.List[Finding]:
    """All of it, with one opening of the TPM."""
    device = wanted.guest.tpm_device
    made: t.List[Finding] = []
    try:
        with open_tpm(device, wanted.guest.tpm_timeout) as tpm:
            # A socket that somebody holds is noticed by the first command only.
            report = tpm.nv_read_public(templates.NV_HCL_REPORT)
            made.append(
                findings.ok("tpm_device", f"{device} can be opened{_described(device)}.", device, **_node(device))
            )
            made += guarded("vm_type", functools.partial(_vm_type, tpm, report and report.size, notes))
            made += guarded("ak", functools.partial(_ak, tpm, notes))
            made += guarded("ak_certificate", functools.partial(_certificate, tpm, notes))
            made += guarded("pcr_bank", functools.partial(_pcrs, tpm, notes))
    except SkrFailure as failure:
        if made:  # closing it failed: nothing that concerns a check
            return made + guarded("boot_log", functools.partial(_log, wanted, notes))
        made = [_no_tpm(device, failure)]
        made += [findings.skipped(check, "The TPM cannot be used.") for check in REST]
    return made + guarded("boot_log", functools.partial(_log, wanted, notes))


# --- the device


def _node(device: str) -> t.Dict[str, t.Any]:
    """Owner, group and mode of the device file or socket; empty where there is none."""
    path = device[5:] if device.startswith("unix:") else device
    try:
        found = os.stat(path)
    except OSError:
        return {}
    return {
        "owner": _name(lambda: pwd.getpwuid(found.st_uid).pw_name, found.st_uid),
        "group": _name(lambda: grp.getgrgid(found.st_gid).gr_name, found.st_gid),
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
    }


def _name(find: t.Callable[[], str], number: int) -> str:
    try:
        return find()
    except KeyError:
        return str(number)


def _described(device: str) -> str:
    node = _node(device)
    return f" ({node['owner']}:{node['group']} {node['mode']})" if node else ""


def _no_tpm(device: str, failure: SkrFailure) -> Finding:
    """Why the TPM cannot be used, with what the device looks like and who holds it."""
    text, facts = failure.message.rstrip("."), {**failure.facts, **_node(device)}
    if failure.reason in ("tpm_permission", "tpm_busy"):
        text += _described(device)
    if failure.reason == "tpm_permission":
        text += f"; this is user {_name(lambda: pwd.getpwuid(os.geteuid()).pw_name, os.geteuid())}"
    if failure.reason == "tpm_busy":
        holders = _holders(device)
        facts["holders"] = holders
        text += f"; held by {', '.join(holders)}" if holders else ""
    if failure.reason == "tpm_missing":
        others = sorted(path for path in glob.glob("/dev/tpm*") if path != device)
        facts["others"] = others
        text += f"; there is {', '.join(others)}" if others else "; there is no other /dev/tpm*"
    return findings.of_failure("tpm_device", SkrFailure(failure.reason, f"{text}.", facts), device)


def _holders(device: str) -> t.List[str]:
    """Processes that have the device open, as far as this user may see: name and pid."""
    if not device.startswith("/"):
        return []
    found = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.path.samefile(link, device) and link.split("/")[2] != str(os.getpid()):
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    found.add(f"{stream.read().strip()} (pid {pid})")
        except OSError:
            continue
    return sorted(found)


# --- what it holds


def _vm_type(tpm: Tpm, size: t.Optional[int], notes: Notes) -> t.Iterator[Finding]:
    if size is None:
        notes.no_report = True
        key = tpm.read_public(templates.AK_HANDLE)
        index = tpm.nv_read_public(templates.NV_AK_CERT)
        if key is not None and index is not None and not index.attributes & PLATFORM_CREATED:
            kind = "this looks like a Trusted Launch VM"
        else:
            kind = (
                "it has an attestation key all the same"
                if key is not None
                else "nor an attestation key, so it is no Azure vTPM"
            )
        raise SkrFailure("not_a_cvm", f"The TPM has no HCL report (index 0x{templates.NV_HCL_REPORT:08x}); {kind}.")
    report = hcl.parse(tpm.nv_read(templates.NV_HCL_REPORT, size))
    notes.report = report
    facts: t.Dict[str, t.Any] = {"tee": report.tee, "vm_unique_id": report.vm_unique_id, "report_size": size}
    if report.tee not in hcl.REPORT_DATA:
        raise SkrFailure("tee_unsupported", f"The HCL report is of type {report.tee}.", facts)
    if report.tee == "snp" and snp.parse(report.hardware_report).debuggable:
        yield findings.found(
            "warning", "vm_type", "vm_debuggable", "A confidential VM (snp) that can be debugged.", **facts
        )
    else:
        yield findings.ok("vm_type", f"A confidential VM ({report.tee}), HCL report of {size} bytes.", **facts)


def _ak(tpm: Tpm, notes: Notes) -> t.Iterator[Finding]:
    area = tpm.read_public(templates.AK_HANDLE)
    if area is None:
        raise SkrFailure("ak_missing", f"There is no key at 0x{templates.AK_HANDLE:08x}.")
    key = wire.rsa_public(area)
    if key.attributes & _RESTRICTED_SIGNING != _RESTRICTED_SIGNING:
        raise SkrFailure("ak_missing", f"The key at 0x{templates.AK_HANDLE:08x} is no restricted signing key.")
    notes.modulus = key.modulus
    text = f"RSA key of {key.modulus.bit_length()} bits at 0x{templates.AK_HANDLE:08x}"
    if notes.report is None or notes.report.tee not in hcl.REPORT_DATA:
        yield findings.ok("ak", f"{text}; there is no HCL report to compare it with.")
        return
    try:
        hcl.check_binding(notes.report, key.modulus)
    except SkrFailure:  # another process may have had the report renewed while it was read
        time.sleep(_AGAIN)
        index = tpm.nv_read_public(templates.NV_HCL_REPORT)
        notes.report = hcl.parse(tpm.nv_read(templates.NV_HCL_REPORT, index.size if index else 0))
        hcl.check_binding(notes.report, key.modulus)
    yield findings.ok("ak", f"{text}, named by the HCL report.")


def _certificate(tpm: Tpm, notes: Notes) -> t.Iterator[Finding]:
    if not notes.modulus:
        yield findings.skipped("ak_certificate", "There is no attestation key that it could belong to.")
        return
    need_cryptography()
    index = tpm.nv_read_public(templates.NV_AK_CERT)
    if index is None:
        raise SkrFailure("ak_cert_missing", f"The TPM has no AK certificate (index 0x{templates.NV_AK_CERT:08x}).")
    try:
        content = tpm.nv_read(templates.NV_AK_CERT, index.size)
    except SkrFailure as error:
        if rc.is_code(error, rc.NV_UNINITIALIZED):
            raise SkrFailure("ak_cert_missing", "The AK certificate's index was never written.") from error
        raise
    if not any(content):
        raise SkrFailure("ak_cert_missing", "The AK certificate's index holds nothing but zeros.")
    certificate = akcert.parse(content, notes.modulus)
    days, end = certificate.days_left(), akcert.iso(certificate.not_after)
    facts: t.Dict[str, t.Any] = {
        "days_left": days,
        "not_after": end,
        "ak_cert_subject": certificate.subject,
        "ak_cert_issuer": certificate.issuer,
    }
    text = f"{days} days left, until {end}; issued by {certificate.issuer}."
    if days <= WARNING_DAYS:
        yield findings.found("warning", "ak_certificate", "ak_cert_expiring", text, **facts)
    else:
        yield findings.ok("ak_certificate", text, **facts)


def _pcrs(tpm: Tpm, notes: Notes) -> t.Iterator[Finding]:
    try:
        values = tpm.pcr_read(PCRS)
    except SkrFailure as error:
        if error.reason == "tpm_error" and "SHA-256 bank" in error.message:
            raise Told(findings.found("failed", "pcr_bank", "pcr_bank_missing", error.message)) from error
        raise
    notes.pcrs = values
    facts: t.Dict[str, t.Any] = {str(pcr): value.hex() for pcr, value in zip(PCRS, values)}
    if not any(any(value) for value in values):
        yield findings.found("warning", "pcr_bank", "nothing_measured", "PCRs 0 to 7 are all zero.", pcrs=facts)
    else:
        yield findings.ok("pcr_bank", "PCRs 0 to 7 have SHA-256 values.", pcrs=facts)


# --- the log


def _log(wanted: Wanted, notes: Notes) -> t.Iterator[Finding]:
    path = wanted.guest.event_log_path
    try:
        with open(path, "rb") as stream:
            log = stream.read(_MAX_LOG)
    except OSError as error:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        code = "boot_log_unreadable" if denied else "boot_log_missing"
        raise Told(findings.found("warning", "boot_log", code, f"{path}: {error.strerror}.", path)) from error
    if not log:
        raise Told(findings.found("warning", "boot_log", "boot_log_missing", f"{path} is empty.", path))
    try:
        events = eventlog.decode(log)
    except SkrFailure as error:
        raise Told(
            findings.found("failed", "boot_log", "boot_log_damaged", f"{path}: {error.message}", path)
        ) from error
    secure = eventlog.secure_boot(events)
    text = f"{path} has {len(events)} events"
    if notes.pcrs is not None:
        replayed = eventlog.replay(events)
        differ = [pcr for pcr, value in zip(PCRS, notes.pcrs) if replayed.get(pcr, bytes(32)) != value]
        if differ:
            named = ", ".join(map(str, differ))
            text += f", which do not lead to PCR {named}."
            yield findings.found("warning", "boot_log", "boot_log_differs", text, path, pcrs=differ)
            return
        text += ", which lead to the PCRs"
    if secure is False:
        yield findings.found("warning", "boot_log", "secure_boot_off", f"{text}; secure boot is off.", path)
        return
    told = "secure boot is on" if secure else "it does not tell about secure boot"
    yield findings.ok("boot_log", f"{text}; {told}.", path, secure_boot=secure)
