# SPDX-License-Identifier: GPL-3.0-or-later
"""Each request of each control-plane module goes wrong in turn, in five ways.

Whatever happens ends in success or in a reason with a next step; what had been changed is told; nothing is made
twice; and the same call afterwards brings what was wanted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from integration.cases import CASES, Case, Options
from labkit import Lab

from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.reasons import REASONS

FAULTS: dict[str, dict[str, Any]] = {
    "429": {"action": "status", "code": 429},
    "503": {"action": "status", "code": 503},
    "401": {
        "action": "status",
        "code": 401,
        "body": {
            "error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry UTC time is past."}
        },
    },
    "reset": {"action": "reset"},
    "truncated": {"action": "truncate_json"},
}
SWEPT = [case for case in CASES if case.sweep]


def test_every_module_that_writes_is_swept() -> None:
    assert {case.module for case in SWEPT} == {case.module for case in CASES}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("case", SWEPT, ids=lambda case: case.name)
def test_each_request_in_turn(local_lab: Lab, case: Case, fault: str) -> None:
    mark = local_lab.mark
    options = case.fresh(local_lab)
    before = local_lab.mark
    result = local_lab.quick(case.module, **options)
    assert not result.get("failed"), result
    requests = len(local_lab.audit(before))
    outcomes: Counter[str] = Counter()
    for number in range(1, requests + 1):
        options = case.fresh(local_lab)
        mark = local_lab.mark
        row = dict(FAULTS[fault])
        with local_lab.fault(row.pop("action"), first=number, times=1, **row):
            broken = local_lab.quick(case.module, **options)
        outcomes[_check(broken, case, fault, number, bool(local_lab.writes(mark)))] += 1
        _converges(local_lab, case, options)
    # A request that may be repeated is repeated: these faults are over with the next attempt.
    if fault in ("429", "503"):
        assert set(outcomes) == {"success"}, outcomes


def _check(broken: dict[str, Any], case: Case, fault: str, number: int, wrote: bool) -> str:
    where = f"{case.name}: request {number} met {fault}: {broken}"
    if not broken.get("failed"):
        return "success"
    assert broken["reason"] in REASONS and broken["reason"] != "internal_error", where
    assert broken["next_step"] and broken["msg"], where
    if wrote:  # done, but not all of it: a user has to know
        assert broken["changed"] is True, where
    return str(broken["reason"])


def _converges(lab: Lab, case: Case, options: Options) -> None:
    again = lab.quick(case.module, **options)
    assert not again.get("failed"), again
    mark = lab.mark
    last = lab.quick(case.module, **options)
    assert not last.get("failed") and not last["changed"], last
    assert lab.writes(mark) == []
    if case.module == "exportable_key" and case.state == "present":
        vault = str(options["vault_uri"]).partition("://")[2].partition(".")[0]
        assert len(lab.call("key", vault=vault, key=options["key_name"])["versions"]) == 1
    if case.module == "release_access" and case.state == "present":
        grants = Counter(
            (one["path"].rpartition("/")[0], one["status"]) for one in lab.audit(mark, operation="role_put", write=True)
        )
        assert all(count <= len(options["principals"]) for count in grants.values())
