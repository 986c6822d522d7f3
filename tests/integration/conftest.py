# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab with the local door for all integration tests; faults and clock are put back after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labkit import Lab, lab


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    with lab("--vms", "6", "--door", "local", "--debug", "cvm-03") as made:
        yield made


@pytest.fixture
def local_lab(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    shared_lab.call("fault_clear")
    shared_lab.call("delays", values={"role_effective": 0, "access_policy_effective": 0, "late": {}})
