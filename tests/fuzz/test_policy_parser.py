# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy parser against arbitrary bytes: its own error or a model, never anything else.

A third of the inputs are a good policy's text with pieces cut out, doubled or overwritten, a third a good policy whose
members were exchanged for other JSON, which reaches deep into the grammar; the rest is noise. ``SKR_FUZZ_INPUTS`` sets
how many (default 200,000); the seed is fixed.
"""

from __future__ import annotations

import copy
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


VALUES = [
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    "",
    "x",
    "equals",
    "https://a.attest.azure.net/",
    [],
    {},
    [[]],
    {"claim": "a"},
    ["x"],
]
NAMES = ["version", "anyOf", "allOf", "authority", "claim", "equals", "notEquals", "exists", "less", "other"]


def regrown(rng: random.Random) -> bytes:
    """A good policy with one to four places of its tree exchanged, renamed, dropped or nested deeper."""
    document = json.loads(rng.choice(GOOD))
    for _step in range(rng.randint(1, 4)):
        node = document
        while isinstance(node, (dict, list)) and node:
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.75:
                node = node[key]
                continue
            kind = rng.randrange(5)
            if kind == 0:
                node[key] = copy.deepcopy(rng.choice(VALUES))
            elif kind == 1 and isinstance(node, dict):
                node[rng.choice(NAMES)] = node.pop(key)
            elif kind == 2:
                del node[key]
            elif kind == 3:
                node[key] = {rng.choice(NAMES): [node[key]] * rng.randint(1, 3)}
            elif isinstance(node, dict):
                node[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
            else:
                node.append(copy.deepcopy(rng.choice(VALUES)))
            break
    return json.dumps(document).encode()


def test_nothing_but_its_own_error() -> None:
    rng = random.Random(2026)
    accepted = refused = 0
    for number in range(INPUTS):
        data = (altered, regrown, lambda rng: rng.randbytes(rng.randrange(200)))[number % 3](rng)
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
    assert accepted > INPUTS // 100 and refused > INPUTS // 2
