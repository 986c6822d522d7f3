# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole verifications of damaged evidence: whatever it is, the result is a list of checks, each failure with a reason."""

from __future__ import annotations

import functools
import hashlib
import time
import typing as t

from unit.guest import release_fakes, silicon_fakes, tdx_fakes, test_eventlog, test_verify, tpm_fakes

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import verify

Maker = t.Callable[[bytes], verify.Material]


@functools.cache
def runtime_data() -> bytes:
    return silicon_fakes.runtime_data(silicon_fakes.modulus_of(silicon_fakes.rsa_key("ak")), bytes(64))


@functools.cache
def td_report() -> bytes:
    return tdx_fakes.td_report(hashlib.sha256(runtime_data()).digest())


@functools.cache
def snp_report() -> bytes:
    return silicon_fakes.Host().report(hashlib.sha256(runtime_data()).digest())


@functools.cache
def _wanted() -> verify.Wanted:
    roots = silicon_fakes.pem(silicon_fakes.Host().ark) + tdx_fakes.root_pem()
    return verify.Wanted(roots_pem=roots, ak_roots_pem=test_verify.vtpm_authority(), issuer=release_fakes.ISSUER)


def reader(made: Maker) -> t.Callable[[bytes], None]:
    def read(data: bytes) -> None:
        run = verify.verify(made(data), _wanted(), time.time())
        assert run.text().encode() and run.result()["verdict"] in ("verified", "failed", "incomplete")
        assert all(check.reason for check in run.checks if check.state == verify.FAILED)

    return read


def _tdx(data: bytes) -> verify.Material:
    hcl = silicon_fakes.hcl_blob(td_report(), runtime_data(), report_type=4)
    return verify.Material(hcl_report=hcl, td_quote=data)


def _vcek(data: bytes) -> verify.Material:
    host = silicon_fakes.Host()
    return verify.Material(snp_report=snp_report(), certificates=[data, host.ask, host.ark])


read_quote = reader(_tdx)
read_hcl = reader(lambda data: verify.Material(hcl_report=data))
read_vcek = reader(_vcek)
read_ak = reader(lambda data: verify.Material(ak_certificate=data))
read_statement = reader(lambda data: verify.Material(tpm_quote=verify.TpmQuote(data, b"", {}), ak_modulus=5))
read_log = reader(lambda data: verify.Material(event_log=data, tpm_quote=verify.TpmQuote(b"", b"", {0: bytes(32)})))
read_token = reader(lambda data: verify.Material(token=data.decode("latin-1"), key_set=test_verify.KEYS))


def quotes() -> t.List[bytes]:
    return [tdx_fakes.Quoter(version, kind).quote(td_report()) for version, kind in ((4, 2), (5, 2), (5, 3))]


def hcl_reports() -> t.List[bytes]:
    runtime = runtime_data()
    return [silicon_fakes.hcl_blob(snp_report(), runtime), silicon_fakes.hcl_blob(td_report(), runtime, report_type=4)]


def vceks() -> t.List[bytes]:
    return [silicon_fakes.Host().vcek(), silicon_fakes.Host().vlek()]


def ak_certificates() -> t.List[bytes]:
    return [tpm_fakes.ak_certificate(silicon_fakes.rsa_key("ak"))]


def statements() -> t.List[bytes]:
    return [test_verify.tpm_quote().message]


def logs() -> t.List[bytes]:
    return [test_verify.LOG, test_eventlog.header(test_eventlog.SHA1, test_eventlog.SHA256)]


def tokens() -> t.List[bytes]:
    return [test_verify.token().encode()]
