# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy parser against arbitrary bytes: its own error or a model, never anything else.

Half of the inputs are a good policy with pieces cut out, doubled, swapped or overwritten, which reaches deep into the
grammar; the rest is noise. ``SKR_FUZZ_INPUTS`` sets how many (default 200,000); the seed is fixed.
"""

from __future__ import annotations

import json
import os
import random

from unit.policy import published

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, lint, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

INPUTS = int(os.environ.get("SKR_FUZZ_INPUTS", "200000"))
GOOD = [json.dumps(one).encode() for one in (published.CVM, published.DATA_DISK, published.TRUSTED_LAUNCH)]
WORDS = [
    b"null", b"true", b"NaN", b"Infinity", b"1e999", b"-0", b"[]", b"{}", b'""', b'"\\ud800"', b"\xff", b"\xef\xbb\xbf",
    b'"anyOf":', b'"allOf":[', b'"claim":', b'"equals":', b'"exists":', b'"authority":', b'"https://[x"', b"]", b"}", b",",
]  # fmt: skip


def altered(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(GOOD))
    for _step in range(rng.randint(1, 4)):
        at, upto = sorted(rng.randrange(len(data) + 1) for _end in range(2))
        kind = rng.randrange(4)
        if kind == 0:
            del data[at : min(upto, at + 40)]
        elif kind == 1:
            data[at:at] = rng.choice(WORDS)
        elif kind == 2:
            data[at:at] = data[at : min(upto, at + 200)]
        else:
            data[at : at + 8] = rng.choice(WORDS)
    return bytes(data)


def test_nothing_but_its_own_error() -> None:
    rng = random.Random(2026)
    accepted = refused = 0
    for number in range(INPUTS):
        data = altered(rng) if number % 2 else rng.randbytes(rng.randrange(200))
        try:
            policy = model.parse(data)
        except SkrFailure as failure:
            assert failure.reason == "policy_invalid" and failure.message and "position" in failure.facts
            refused += 1
            continue
        accepted += 1
        text = canonical.dump(policy)
        assert canonical.dump(model.parse(text)) == text
        lint.lint(policy)
    assert accepted > INPUTS // 1000 and refused > INPUTS // 2
