# SPDX-License-Identifier: GPL-3.0-or-later
"""The peak that tests compute from the audit log."""

from __future__ import annotations

import typing as t

from labkit import Lab


class Log(Lab):
    def __init__(self, times: t.Mapping[str, list[float]]) -> None:
        self._records = [
            {"service": "keyvault", "host": host, "time": time} for host, many in times.items() for time in many
        ]

    def audit(self, since: int = 0, **where: t.Any) -> list[dict[str, t.Any]]:
        assert where == {"service": "keyvault"}
        return self._records[since:]


def test_the_window_may_begin_at_any_request() -> None:
    log = Log({"one.vault.azure.net": [0, 8, 9, 12, 17.9, 18, 30], "two.vault.azure.net": [8.5] * 9})
    assert log.peak("one") == 4  # from 8 to 17.9; the request at 18 is ten seconds after the first of these
    assert log.peak("one", seconds=2) == 2
    assert log.peak("Two") == 9 and log.peak("three") == 0
