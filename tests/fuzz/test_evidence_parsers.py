# SPDX-License-Identifier: GPL-3.0-or-later
"""The readers of evidence against altered and arbitrary bytes: their own error or a result, never anything else.

``SKR_FUZZ_INPUTS`` sets how many inputs (default 200,000, shared among the readers); the seed is fixed.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable

import pytest
from unit.guest.silicon_fakes import Host, hcl_blob, modulus_of, rsa_key, runtime_data
from unit.guest.tdx_fakes import Quoter, root_pem, td_report
from unit.guest.test_verify import LOG, tpm_quote
from unit.guest.tpm_fakes import ak_certificate

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import verify

INPUTS = int(os.environ.get("SKR_FUZZ_INPUTS", "200000"))
HOST, RUNTIME = Host(), runtime_data(modulus_of(rsa_key("ak")), bytes(64))
HASH = hashlib.sha256(RUNTIME).digest()
TD = td_report(HASH)
Maker = Callable[[bytes], verify.Material]
READERS: dict[str, tuple[bytes, Maker]] = {
    "hcl": (hcl_blob(HOST.report(HASH), RUNTIME), lambda data: verify.Material(hcl_report=data)),
    "snp": (HOST.report(HASH), lambda data: verify.Material(snp_report=data)),
    "quote": (Quoter(5, 3).quote(TD), lambda data: verify.Material(td_quote=data)),
    "td": (hcl_blob(TD, RUNTIME, report_type=4), lambda data: verify.Material(hcl_report=data)),
    "vcek": (
        HOST.vcek(),
        lambda data: verify.Material(snp_report=HOST.report(HASH), certificates=[data, HOST.ask, HOST.ark]),
    ),
    "ak": (ak_certificate(rsa_key("ak")), lambda data: verify.Material(ak_certificate=data)),
    "tpm": (tpm_quote().message, lambda data: verify.Material(tpm_quote=verify.TpmQuote(data, b"", {}), ak_modulus=5)),
    "log": (LOG, lambda data: verify.Material(event_log=data)),
    "token": (
        b"eyJhbGciOiJSUzI1NiJ9.e30.AAAA",
        lambda data: verify.Material(token=data.decode("latin-1"), key_set={"keys": []}),
    ),
}


def altered(rng: random.Random, good: bytes) -> bytes:
    data = bytearray(good)
    for _step in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del data[at : at + rng.randint(1, 40)]
        elif kind == 1:
            data[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 2:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80", b"\x30\x84"])
        elif kind == 3 and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("reader", READERS)
def test_evidence(reader: str) -> None:
    good, made = READERS[reader]
    rng, now, wanted = random.Random(reader), time.time(), verify.Wanted(roots_pem=root_pem())
    verdicts = set()
    for number in range(max(INPUTS // 20 // len(READERS), 50)):
        data = altered(rng, good) if number % 4 else rng.randbytes(rng.randrange(64))
        run = verify.verify(made(data), wanted, now)
        verdicts.add(run.verdict)
        assert run.text() and all(check.reason for check in run.checks if check.state == "failed")
    assert "failed" in verdicts
