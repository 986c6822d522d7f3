# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab counts for those who measure clients: connections, and the time that it spent itself."""

from __future__ import annotations

from pathlib import Path

import requests

from conftest import SILICON
from skrsim.core.running import Running
from skrsim.core.world import World
from skrsim.tee.platform import Platform
from skrsim.vtpm import wire
from skrsim.vtpm.vm import VirtualTpm

CHAIN = "/metadata/THIM/amd/certification"


def test_requests_name_their_connection_and_the_time_they_took(running: Running, world: World) -> None:
    url = f"http://127.0.0.1:{running.imds('cvm-01')}{CHAIN}"
    with requests.Session() as session:
        session.trust_env = False
        for _round in range(2):
            assert session.get(url, headers={"Metadata": "true"}, timeout=10).status_code == 200
    with requests.Session() as other:
        other.trust_env = False
        other.get(url, headers={"Metadata": "true"}, timeout=10)
    first, second, third = world.audit.records(vm="cvm-01")
    assert first["connection"] == second["connection"] != third["connection"]
    assert all(0 < record["seconds"] < 10 for record in (first, second, third))


def test_tpm_counts_its_seconds(world: World, tmp_path: Path) -> None:
    tpm = VirtualTpm(world, "cvm-01", Platform(world, SILICON), tmp_path)
    tpm.start()
    try:
        opener = tpm.relay.open()
        assert tpm.relay.seconds == 0.0
        tpm.relay.transceive(opener, wire.command(wire.READ_PUBLIC, [0x81000003]))
        spent = tpm.relay.seconds
        assert 0 < spent < 10
        tpm.relay.transceive(opener, wire.command(wire.READ_PUBLIC, [0x81000003]))
        assert tpm.relay.seconds > spent
    finally:
        tpm.stop()
