# SPDX-License-Identifier: GPL-3.0-or-later
"""Return codes, each to the reason a user is given."""

from __future__ import annotations

import pytest

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.tpm2 import rc
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

CASES = [
    (0x18B, "TPM_RC_HANDLE", "tpm_error"),  # handle 1 does not exist
    (0x28B, "TPM_RC_HANDLE", "tpm_error"),  # handle 2 does not exist
    (0x14A, "TPM_RC_NV_UNINITIALIZED", "tpm_error"),
    (0x146, "TPM_RC_NV_RANGE", "tpm_error"),
    (0x14C, "TPM_RC_NV_DEFINED", "tpm_error"),
    (0x149, "TPM_RC_NV_AUTHORIZATION", "tpm_error"),
    (0x2D5, "TPM_RC_SIZE", "tpm_error"),  # parameter 2
    (0x101, "TPM_RC_FAILURE", "tpm_error"),
    (0x084, "TPM_RC_VALUE", "tpm_error"),
    (0x1C4, "TPM_RC_VALUE", "tpm_error"),  # parameter 1
    (0x3C4, "TPM_RC_VALUE", "tpm_error"),  # parameter 3
    (0x095, "TPM_RC_SIZE", "tpm_error"),
    (0x12F, "TPM_RC_AUTH_UNAVAILABLE", "tpm_error"),
    (0x9A2, "TPM_RC_BAD_AUTH", "tpm_error"),  # session 1
    (0x99D, "TPM_RC_POLICY_FAIL", "pcr_changed"),
    (0x128, "TPM_RC_PCR_CHANGED", "pcr_changed"),
    (0x902, "TPM_RC_OBJECT_MEMORY", "tpm_busy"),
    (0x903, "TPM_RC_SESSION_MEMORY", "tpm_busy"),
    (0x922, "TPM_RC_RETRY", "tpm_busy"),
    (0x908, "TPM_RC_YIELDED", "tpm_busy"),
    (0x90A, "TPM_RC_TESTING", "tpm_busy"),
    (0x921, "TPM_RC_LOCKOUT", "tpm_lockout"),
    (0xB0143, "unknown code", "tpm_error"),  # the kernel's resource manager itself refuses
]


@pytest.mark.parametrize(("code", "name", "reason"), CASES)
def test_codes(code: int, name: str, reason: str) -> None:
    failure = rc.failure("Quote", code, "/dev/tpmrm0")
    assert failure.reason == reason
    assert failure.facts == {"command": "Quote", "code": f"0x{code:03x}", "name": name, "device": "/dev/tpmrm0"}
    assert all(word in failure.message for word in ("/dev/tpmrm0", "Quote", f"0x{code:03x}", name))
    assert rc.is_code(failure, rc.base(code)) and not rc.is_code(failure, 0x0FF)


@pytest.mark.parametrize("code", [0x922, 0x908, 0x90A, 0x920])
def test_only_passing_conditions_are_repeated(code: int) -> None:
    assert rc.base(code) in rc.RETRY and "repetition" in rc.failure("Quote", code, "x").message


@pytest.mark.parametrize("code", [0x902, 0x903, 0x921, 0x101, 0x99D, 0x128, 0x18B])
def test_lasting_conditions_are_not_repeated(code: int) -> None:
    assert rc.base(code) not in rc.RETRY and "repetition" not in rc.failure("Quote", code, "x").message


def test_a_failure_without_a_code() -> None:
    assert not rc.is_code(SkrFailure("tpm_error", "no answer"), rc.HANDLE)
