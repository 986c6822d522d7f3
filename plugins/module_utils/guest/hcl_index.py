# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the HCL report out of the vTPM, whole, fresh and with the caller's user data in it."""

from __future__ import annotations

import fcntl
import os
import time
import typing as t

from ..policy.failure import SkrFailure
from . import hcl
from .tpm2 import Tpm, templates

_REPORT_WAIT = 10.0  # seconds until a report that does not show our user data counts as stale
_USER_DATA_ATTRIBUTES = 0x00060006  # owner and index authorization may read and write
_LOCK = "/run/lock/azure-skr-hcl.lock"
_LOCK_WAIT = 30.0  # seconds; a caller holds it for little more than _REPORT_WAIT


def read(tpm: Tpm, size: int, ak_modulus: int, user_data: t.Optional[bytes]) -> hcl.HclReport:
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
