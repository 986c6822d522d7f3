# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab with the local door for all integration tests; faults and clock are put back after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labkit import Lab, lab

_started: list[Lab] = []


@pytest.fixture(scope="session")
def shared_lab() -> Iterator[Lab]:
    with lab("--vms", "6", "--door", "local", "--debug", "cvm-03") as made:
        _started.append(made)
        yield made


@pytest.fixture(scope="module", autouse=True)
def no_identity_is_left() -> Iterator[None]:
    """Take the VMs' identities away after a file's tests: which files share a lab, and in which order, is chance."""
    yield
    for made in _started:  # a file that did without the lab starts none
        for name in made.hosts:
            made.call("vm_identities", name=name, count=0)


@pytest.fixture
def local_lab(shared_lab: Lab) -> Iterator[Lab]:
    yield shared_lab
    shared_lab.call("fault_clear")
    shared_lab.call("delays", values={"role_effective": 0, "access_policy_effective": 0, "late": {}, "lingering": {}})
