# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluator and the simulator's own reading of the same rules agree, and the canonical form keeps the meaning.

Each example draws sixteen policies and sixteen tokens, so 256 pairs; the runs below make more than 100,000 pairs. The seed
is fixed: a red run is the same everywhere.
"""

from __future__ import annotations

import base64
import collections
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import canonical, compare, evaluate, model
from skrsim.services.keyvault import policy as vault

HOSTS = ("https://a.attest.azure.net", "https://b.attest.azure.net")
AUTHORITIES = st.sampled_from(
    [*HOSTS, HOSTS[0] + "/", "https://A.Attest.azure.net", HOSTS[1] + "/x", HOSTS[1] + ":443"]
)
NAMES = st.sampled_from(["a", "b", "C"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
# Few values, so that claims and policies meet often; among them texts that look like other types.
VALUES = st.sampled_from(
    [True, False, "true", "false", "True", "", "x", "X", "x/", "1", "1.0", 0, 1, 1.0, -1, 2**60, 0.5]
)
OPERATORS = st.sampled_from(["equals", "equals", *model.OPERATORS])


def _claim(path: str, operator: str, value: Any) -> dict[str, Any]:
    return {"claim": path, operator: value}


CLAIMS = st.builds(_claim, PATHS, OPERATORS, VALUES)
GROUP_NAMES = st.sampled_from(model.GROUPS)
CONDITIONS = st.recursive(
    CLAIMS, lambda inner: st.builds(lambda kind, members: {kind: members}, GROUP_NAMES, st.lists(inner, min_size=1, max_size=3)), max_leaves=5
)  # fmt: skip
RULES = st.builds(
    lambda authority, kind, members: {"authority": authority, kind: members},
    AUTHORITIES,
    GROUP_NAMES,
    st.lists(CONDITIONS, min_size=1, max_size=3),
)
POLICIES = st.builds(
    lambda version, rules: {"version": version, "anyOf": rules},
    st.sampled_from(["1.0.0", "1.0"]),
    st.lists(RULES, min_size=1, max_size=3),
)
LEAVES = st.one_of(VALUES, st.none(), st.just([]), st.just(["x"]), st.just({}))
OBJECTS = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)
TOKENS = st.builds(
    lambda issuer, members: {**members, "iss": issuer},
    st.sampled_from([*HOSTS, HOSTS[0] + "/", HOSTS[1] + "/x", ""]),
    st.dictionaries(NAMES, OBJECTS, min_size=1, max_size=3),
)
SEEN: collections.Counter[str] = collections.Counter()


def stored(policy: dict[str, Any]) -> dict[str, Any]:
    """As the simulated vault keeps it once the canonical text was uploaded."""
    text = canonical.dump(model.parse(policy))
    return vault.stored_form(base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode())


@seed(20)
@settings(max_examples=420, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(POLICIES, min_size=16, max_size=16), st.lists(TOKENS, min_size=16, max_size=16))
def test_both_readings_agree(policies: list[dict[str, Any]], tokens: list[dict[str, Any]]) -> None:
    for document in policies:
        parsed, kept = model.parse(document), stored(document)
        for claims in tokens:
            verdict = evaluate.evaluate(parsed, claims)
            decided, clause = vault.decide(kept, claims)
            assert verdict.satisfied == decided, (document, claims, verdict.as_dict(), clause)
            SEEN["satisfied" if decided else str(verdict.reason)] += 1
            # A refusal always names at least one condition; a met policy none.
            assert bool(verdict.failing) == (verdict.reason == "policy_not_met")


def test_enough_pairs_of_every_kind_were_seen() -> None:
    """Runs after the property: without this, an evaluator that always refuses would pass."""
    assert sum(SEEN.values()) >= 100_000
    assert min(SEEN["satisfied"], SEEN["policy_not_met"], SEEN["authority_mismatch"]) > 5_000, SEEN


@seed(21)
@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(POLICIES, st.lists(TOKENS, min_size=4, max_size=4))
def test_the_canonical_form_is_stable_and_means_the_same(
    document: dict[str, Any], tokens: list[dict[str, Any]]
) -> None:
    policy = model.parse(document)
    text = canonical.dump(policy)
    again = model.parse(text)
    assert canonical.dump(again) == text and text.startswith('{"version":') and "\n" not in text and "\r" not in text
    assert compare.equal(policy, again) and compare.changes(policy, again) == []
    assert canonical.digest(policy) == canonical.digest(again)
    # What the vault gives back is no difference either.
    back = model.parse(stored(document))
    assert compare.equal(policy, back) and canonical.digest(policy) == canonical.digest(back)
    for claims in tokens:
        assert evaluate.evaluate(policy, claims).satisfied == evaluate.evaluate(again, claims).satisfied


@seed(22)
@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(POLICIES, POLICIES)
def test_a_difference_is_told_exactly_when_there_is_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = model.parse(one), model.parse(other)
    same = compare.equal(first, second)
    assert same == (compare.changes(first, second) == []) == (canonical.digest(first) == canonical.digest(second))
