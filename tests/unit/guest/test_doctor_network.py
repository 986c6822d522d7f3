# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor's look at the way to each host: names, proxies, certificates; and what is shown in a refused handshake."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
import time
import typing as t
from pathlib import Path

import pytest
from unit.guest import release_fakes as fakes
from unit.guest.doctor_fakes import told, wanted
from unit.guest.release_fakes import Site, answer

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor import network, patient
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.findings import Finding
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.network import Place
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor.patient import Notes

VAULT = "kv.vault.azure.net"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in http.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ca_file(folder: Path, subject: str = "root") -> str:
    key = fakes.rsa_key(subject)
    (folder / "ca.pem").write_bytes(fakes.pem(fakes.certificate(subject, key, subject, key, extra=fakes.SIGNS)))
    return str(folder / "ca.pem")


def server(
    folder: Path, host: str = "localhost", issuer: str = "root", days: t.Tuple[int, int] = (-1, 90)
) -> ssl.SSLContext:
    key = fakes.rsa_key("server")
    leaf = fakes.certificate(f"leaf of {issuer}", key, issuer, fakes.rsa_key(issuer), (host,), days)
    (folder / "server.pem").write_bytes(fakes.private_pem(key) + fakes.pem(leaf))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def examine(place: Place, ca_path: str, proxy: t.Optional[str] = None) -> t.Tuple[t.Dict[str, Finding], Notes]:
    notes = Notes()
    given = wanted(ca_path=ca_path, https_proxy=proxy)
    found = network.examine(given, place, http.Http(ca_path, proxy), notes)
    return {one.check: one for one in found}, notes


def place(port: int, host: str = "localhost") -> Place:
    return Place("the vault", f"https://{host}:{port}")


class Proxy:
    """A forward proxy on loopback: leads every CONNECT to one port, or answers with a status of its own."""

    def __init__(self, port: int = 0, status: str = "200 Connection established") -> None:
        self.port_behind, self.status, self.asked = port, status, t.cast("t.List[str]", [])
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self.socket.accept()
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.asked.append(head.decode())
        client.sendall(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if not self.status.startswith("200"):
            client.close()
            return
        behind = socket.create_connection(("127.0.0.1", self.port_behind))
        for one, other in ((client, behind), (behind, client)):
            threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(1 << 14):
                other.sendall(piece)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)  # the thread that waits for a connection would keep it open
        self.socket.close()


# --- names


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    found, notes = examine(place(443, "no-such-host.invalid"), ca_file(tmp_path))
    assert told(found.values()) == [
        ("name_resolution", "failed", "name_not_resolved"),
        ("connection", "skipped", "skipped"),
    ]
    assert not notes.open


@pytest.mark.parametrize(
    ("addresses", "canonical", "severity"),
    [
        (["20.50.1.2"], "", "ok"),
        (["20.50.1.2", "10.1.2.3"], "", "info"),
        (["172.31.0.9"], "kv.privatelink.vaultcore.azure.net", "info"),
        (["192.168.1.1"], "", "info"),
        (["fd00::1"], "", "info"),
        (["172.32.0.1"], "", "ok"),
        (["2603:1020::1"], "", "ok"),
    ],
)
def test_private_addresses_are_noticed(
    addresses: t.List[str], canonical: str, severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_words: t.Any, **_options: t.Any) -> t.Any:
        return [(socket.AF_INET, 1, 6, canonical, (address, 443)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    (found,) = network._resolve(place(443, VAULT))
    assert found.severity == severity and found.facts["addresses"] == sorted(addresses)
    assert canonical in found.found and (found.code == "private_address") == (severity == "info")


def test_what_is_no_address_is_not_private() -> None:
    assert not network.private("nonsense") and network.private("fd00::1%eth0") and not network.private("169.254.1.1")


def test_a_resolver_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_words, **_options: release.wait(30))
    monkeypatch.setattr(network, "bounded", lambda function: _bounded(function, 0.2))
    start = time.monotonic()
    found, _notes = examine(place(443, VAULT), ca_file(tmp_path))
    release.set()
    assert found["name_resolution"].code == "host_unreachable" and time.monotonic() - start < 5


_bounded = network.bounded


# --- connections


def test_a_verified_connection(tmp_path: Path) -> None:
    with Site(answer({}), tls=server(tmp_path)) as site:
        found, notes = examine(place(site.port), ca_file(tmp_path))
    assert told(found.values()) == [("name_resolution", "ok", "ok"), ("connection", "ok", "ok")]
    assert notes.open == {"localhost"} and found["connection"].facts["issuer"] == "root"
    assert not site.asked  # nothing is asked of it


@pytest.mark.parametrize(
    ("given", "ca", "code"),
    [
        ({}, "other", "tls_untrusted"),
        ({"host": "elsewhere.example"}, "root", "tls_name_mismatch"),
        ({"days": (-10, -1)}, "root", "tls_expired"),
        ({"days": (1, 10)}, "root", "tls_not_yet_valid"),
    ],
)
def test_certificates_that_do_not_verify(given: t.Any, ca: str, code: str, tmp_path: Path) -> None:
    with Site(answer({}), tls=server(tmp_path, **given)) as site:
        found, notes = examine(place(site.port), ca_file(tmp_path, ca))
    assert found["connection"].code == code and not notes.open and not site.asked
    assert found["connection"].facts["subject"] == "leaf of root" and "leaf of root" in found["connection"].found


@pytest.mark.parametrize(
    ("issuer", "code"),
    [
        ("Corporate Inspection CA", "tls_intercepted"),
        ("Microsoft Azure RSA TLS Issuing CA 03", "tls_untrusted"),
        ("DigiCert Global Root G2", "tls_untrusted"),
    ],
)
def test_an_inspecting_proxy_is_told_from_a_poor_bundle(issuer: str, code: str, tmp_path: Path) -> None:
    """For an Azure name: who issued the certificate that was shown decides."""
    with Site(answer({}), tls=server(tmp_path, VAULT, issuer)) as site:
        proxy = Proxy(site.port)
        found, _notes = examine(
            Place("the vault", f"https://{VAULT}"), ca_file(tmp_path), f"http://127.0.0.1:{proxy.port}"
        )
        proxy.close()
    assert found["name_resolution"].severity == "skipped"
    assert found["connection"].code == code and issuer in found["connection"].found


def test_a_server_of_tls_1_3_alone_shows_no_certificate(tmp_path: Path) -> None:
    context = server(tmp_path)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with Site(answer({}), tls=context) as site:
        found, _notes = examine(place(site.port), ca_file(tmp_path, "other"))
    assert found["connection"].code == "tls_untrusted" and found["connection"].facts["subject"] == ""


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found, _notes = examine(place(port), ca_file(tmp_path))
    assert found["connection"].code == "host_unreachable" and "Connection refused" in found["connection"].found


def test_something_that_speaks_no_tls(tmp_path: Path) -> None:
    with Site(answer({})) as site:
        found, _notes = examine(place(site.port), ca_file(tmp_path))
    assert found["connection"].code == "host_unreachable" and "TLS handshake" in found["connection"].found


def test_a_bundle_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    with Site(answer({}), tls=server(tmp_path)) as site:
        found, _notes = examine(place(site.port), str(tmp_path / "none.pem"))
    assert found["connection"].code == "invalid_input" and "ca_path" in found["connection"].found


# --- proxies


def test_through_a_proxy_with_a_password(tmp_path: Path) -> None:
    with Site(answer({}), tls=server(tmp_path)) as site:
        proxy = Proxy(site.port)
        found, notes = examine(place(site.port), ca_file(tmp_path), f"http://jo:hunter%402@127.0.0.1:{proxy.port}")
        proxy.close()
    assert notes.open == {"localhost"} and "through the proxy 127.0.0.1" in found["connection"].found
    assert f"CONNECT localhost:{site.port} HTTP/1.1\r\n" in proxy.asked[0]
    word = base64.b64encode(b"jo:hunter@2").decode()
    assert f"Proxy-Authorization: Basic {word}\r\n" in proxy.asked[0]
    assert "hunter" not in str(found)


def test_proxies_that_refuse_or_are_not_there(tmp_path: Path) -> None:
    proxy = Proxy(status="407 Proxy Authentication Required")
    found, _notes = examine(place(443), ca_file(tmp_path), f"http://127.0.0.1:{proxy.port}")
    proxy.close()
    assert found["connection"].code == "proxy_refused" and "407" in found["connection"].found
    found, _notes = examine(place(443), ca_file(tmp_path), f"http://127.0.0.1:{proxy.port}")
    assert found["connection"].code == "proxy_unreachable"


def test_a_proxy_of_the_environment_and_its_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with Site(answer({}), tls=server(tmp_path)) as site:
        found, _notes = examine(place(site.port), ca_file(tmp_path))
        assert found["connection"].code == "proxy_unreachable"
        monkeypatch.setenv("no_proxy", "localhost")
        found, _notes = examine(place(site.port), ca_file(tmp_path))
    assert found["connection"].severity == "ok"


# --- what a handshake shows


def records(*messages: bytes) -> bytes:
    body = b"".join(messages)
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]  # messages may be cut anywhere
    return b"".join(b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def test_certificates_of_a_handshake() -> None:
    leaf, middle, _root = fakes.chain()
    listed = b"".join(len(one).to_bytes(3, "big") + one for one in map(fakes.der, (leaf, middle)))
    shown = message(11, len(listed).to_bytes(3, "big") + listed)
    stream = records(message(2, bytes(70)), shown, message(14, b""))
    assert [one.common_name() for one in network.certificates(stream)] == ["leaf", "middle"]
    assert network.certificates(stream + b"\x14\x03\x03\x00\x01\x01") == network.certificates(stream)
    assert (
        network.certificates(records(message(2, bytes(70))))
        == network.certificates(b"\x15\x03\x03\x00\x02\x02\x28")
        == []
    )


def test_any_bytes_are_borne() -> None:
    leaf = fakes.der(fakes.chain()[0])
    listed = len(leaf).to_bytes(3, "big") + leaf
    stream = records(message(11, len(listed).to_bytes(3, "big") + listed))
    for at in range(0, len(stream), 7):
        network.certificates(stream[:at])
        network.certificates(stream[:at] + bytes([stream[at] ^ 0xFF]) + stream[at + 1 :])


def test_a_step_that_hangs_ends_before_its_check() -> None:
    assert network._TIMEOUT < patient.LIMIT
