# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the simulator's own tests: a world with an operator and three VMs, and the services as a running server."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from skrsim.core.app import App, build
from skrsim.core.running import Running
from skrsim.core.world import Principal, World
from skrsim.services.arm import seed
from skrsim.tee.platform import Platform

SILICON = Path(__file__).resolve().parents[3] / ".build" / "silicon"
GROUP, LOCATION = "rg-test", "westeurope"
SECRET = "operator-secret"


@pytest.fixture
def world() -> World:
    """An empty subscription but for a resource group and three confidential VMs without identity."""
    made = World.new()
    seed.resource_group(made, GROUP, LOCATION)
    for number in (1, 2, 3):
        seed.vm(made, f"cvm-0{number}", GROUP, LOCATION)
    return made


@pytest.fixture
def operator(world: World) -> Principal:
    """The service principal that manages everything; its secret is SECRET."""
    roles = ("Contributor", "User Access Administrator", "Key Vault Crypto Officer")
    return seed.application(world, "operator", SECRET, roles)


@pytest.fixture
def app(world: World, tmp_path: Path) -> App:
    """The services, called in process: ``await app.handle(request)``."""
    Platform(world, SILICON)
    return build(world, tmp_path)


@pytest.fixture
def running(app: App, tmp_path: Path) -> t.Iterator[Running]:
    """The services behind real TLS: ``proxy_url()``, ``bundle``, ``tls_port``, ``imds(vm)``."""
    made = Running(app, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no Azure and no managed-identity variable of this machine reaches the SDKs."""
    import os

    for name in list(os.environ):
        if name.upper().startswith(("AZURE_", "IDENTITY_", "MSI_", "IMDS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
