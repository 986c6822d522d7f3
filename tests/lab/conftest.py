# SPDX-License-Identifier: GPL-3.0-or-later
"""Three hosts of the ssh door for all lab tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from labkit import Lab, lab

NO_SSH_DOOR = os.geteuid() != 0 or not Path("/usr/sbin/sshd").exists() or shutil.which("ip") is None


@pytest.fixture(scope="session")
def ssh_lab() -> Iterator[Lab]:
    if NO_SSH_DOOR:
        pytest.skip("the ssh door needs root, openssh-server and iproute2")
    with lab("--vms", "3", "--door", "ssh", "--debug", "cvm-03") as made:
        yield made
