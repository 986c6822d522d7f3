# SPDX-License-Identifier: GPL-3.0-or-later
"""Verified TLS, no redirects, bounded retries, proxies by option, and nothing secret in messages."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import threading
import typing as t
import warnings
from pathlib import Path

import pytest
from unit.guest import release_fakes as fakes
from unit.guest.release_fakes import Site, answer, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import http

AGAIN = http.Retry(frozenset({429, 503}), (1.0, 2.0, 4.0))
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*PROXIES, *(name.upper() for name in PROXIES)]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, params=["requests", "lean"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is run twice: by requests, and by the standard library alone, as the agent does it."""
    monkeypatch.setattr(http.Http, "lean", request.param == "lean")


class Slept(t.List[float]):
    """Stands for time.sleep and remembers."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client(**options: t.Any) -> t.Tuple[http.Http, Slept]:
    slept = Slept()
    return http.Http(local=True, sleep=slept, **options), slept


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_sends_a_document_and_returns_the_reply() -> None:
    with Site(answer({"a": 1}, x_ms_request_id="r-1")) as site:
        http_, _slept = client()
        reply = http_.request(
            "the service", "POST", f"{site.url}/x", headers={"A": "b"}, params={"q": "a b"}, document={"d": 1}
        )
    asked = site.asked[0]
    assert (reply.status, reply.json(), reply.request_id) == (200, {"a": 1}, "r-1")
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/x?q=a+b", {"d": 1})
    assert asked.headers["a"] == "b" and asked.headers["content-type"] == "application/json"
    assert http_.count == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"x"', b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a":' * 100000])
def test_anything_but_a_json_object_reads_as_empty(body: bytes) -> None:
    assert http.Reply(200, {}, body).json() == {}


def test_retries_named_statuses_with_growing_pauses_and_jitter() -> None:
    with Site(answer({}, 503), answer({}, 503), answer({"done": True})) as site:
        http_, slept = client()
        reply = http_.request("the service", "GET", site.url, AGAIN)
    assert reply.json() == {"done": True}
    assert http_.count == len(site.asked) == 3
    assert len(slept) == 2 and 0.5 <= slept[0] <= 1.0 <= slept[1] <= 2.0


def test_gives_the_last_answer_back_when_the_pauses_are_used_up() -> None:
    with Site(answer({}, 503)) as site:
        http_, slept = client()
        assert http_.request("the service", "GET", site.url, AGAIN).status == 503
    assert len(site.asked) == 4 and len(slept) == 3


@pytest.mark.parametrize(
    ("said", "least", "most"), [("7", 7, 8), ("9999", 60, 61), ("soon", 0.5, 1), ("-3", 0.5, 1), ("\u00b2", 0.5, 1)]
)
def test_honours_retry_after_within_reason(said: str, least: float, most: float) -> None:
    with Site(answer({}, 429, Retry_After=said), answer({})) as site:
        http_, slept = client()
        http_.request("the service", "GET", site.url, AGAIN)
    assert least <= slept[0] <= most


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_statuses_that_are_not_named_are_final(status: int) -> None:
    with Site(answer({"error": "x"}, status)) as site:
        http_, slept = client()
        assert http_.request("the service", "GET", site.url, AGAIN).status == status
    assert len(site.asked) == 1 and not slept


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(status: int) -> None:
    with Site(answer({}, 200)) as target, Site((status, {"Location": f"{target.url}/?secret"}, b"")) as site:
        with refused("redirect_refused") as info:
            client()[0].request("the vault", "GET", site.url, AGAIN)
    assert not target.asked and len(site.asked) == 1
    assert "secret" not in info.value.message and info.value.facts == {"host": "127.0.0.1"}


def test_nobody_listens() -> None:
    http_, slept = client()
    with refused("network_unreachable") as info:
        http_.request("the vault", "GET", f"http://127.0.0.1:{closed_port()}/?q=sentinel", AGAIN)
    assert len(slept) == 3 and http_.count == 4
    assert "the vault at 127.0.0.1 cannot be reached (Connection refused)" in info.value.message
    assert "sentinel" not in str(info.value.as_result())


def test_a_name_that_does_not_resolve() -> None:
    with refused("network_unreachable") as info:
        client()[0].request("the vault", "GET", "http://no-such-host.invalid/")
    assert info.value.facts["host"] == "no-such-host.invalid"


def once(function: t.Callable[[socket.socket], None]) -> t.Tuple[int, t.List[int]]:
    """A port whose connections are treated by ``function``; also the list of calls so far."""
    server, calls = socket.create_server(("127.0.0.1", 0)), t.cast("t.List[int]", [])

    def loop() -> None:
        while True:
            connection, _peer = server.accept()
            calls.append(1)
            with connection:
                connection.recv(65536)
                function(connection)

    threading.Thread(target=loop, daemon=True).start()
    return server.getsockname()[1], calls


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _half(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def _half_chunk(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{")


@pytest.mark.parametrize("spoil", [_reset, _half, _half_chunk])
def test_a_connection_that_breaks_is_tried_again(spoil: t.Callable[[socket.socket], None]) -> None:
    port, calls = once(spoil)
    with refused("network_unreachable"):
        client()[0].request("the vault", "GET", f"http://127.0.0.1:{port}/", AGAIN)
    assert len(calls) == 4


def test_a_service_that_never_answers_times_out() -> None:
    port, _calls = once(lambda connection: threading.Event().wait(3) and None)
    with refused("network_unreachable"):
        client(timeout=(1.0, 0.2))[0].request("the vault", "GET", f"http://127.0.0.1:{port}/")


def test_a_chunked_answer_is_read_whole() -> None:
    port, _calls = once(
        lambda connection: connection.sendall(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n'
        )
    )
    assert client()[0].request("the vault", "GET", f"http://127.0.0.1:{port}/").json() == {"a": 1}


# --- TLS


def tls(folder: Path, host: str = "127.0.0.1") -> ssl.SSLContext:
    """A server context with a leaf of the throw-away authority."""
    leaf, *rest = fakes.chain(host)
    (folder / "server.pem").write_bytes(fakes.private_pem(fakes.rsa_key("leaf")) + fakes.pem(leaf, *rest))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def bundle(folder: Path) -> str:
    (folder / "ca.pem").write_bytes(fakes.pem(fakes.chain()[-1]))
    return str(folder / "ca.pem")


def test_tls_is_verified_against_the_given_bundle(tmp_path: Path) -> None:
    with Site(answer({"a": 1}), tls=tls(tmp_path, "localhost")) as site:
        reply = http.Http(bundle(tmp_path)).request("the vault", "GET", f"https://localhost:{site.port}/")
    assert reply.json() == {"a": 1}


def test_an_unknown_authority_is_refused_at_once(tmp_path: Path) -> None:
    with Site(answer({}), tls=tls(tmp_path, "localhost")) as site:
        slept = Slept()
        http_ = http.Http(sleep=slept)
        with refused("tls_untrusted") as info:
            http_.request("the vault", "GET", f"https://localhost:{site.port}/", AGAIN)
    assert not site.asked and not slept and http_.count == 1
    assert info.value.facts["ca_path"] in info.value.message
    assert "certificate in certificate chain." in info.value.message


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    with Site(answer({}), tls=tls(tmp_path, "elsewhere.example")) as site:
        with refused("tls_untrusted"):
            http.Http(bundle(tmp_path)).request("the vault", "GET", f"https://localhost:{site.port}/")
    assert not site.asked


def test_a_handshake_that_breaks_off_is_no_matter_of_trust(tmp_path: Path) -> None:
    port, calls = once(lambda connection: None)
    with refused("network_unreachable"):
        http.Http(bundle(tmp_path), sleep=Slept()).request("the vault", "GET", f"https://localhost:{port}/", AGAIN)
    assert len(calls) == 4


def test_a_bundle_without_certificates_is_an_option_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate\n")
    with Site(answer({}), tls=tls(tmp_path, "localhost")) as site:
        with refused("invalid_input") as info:
            http.Http(str(tmp_path / "ca.pem")).request("the vault", "GET", f"https://localhost:{site.port}/")
    assert info.value.facts["option"] == "ca_path"


def test_ca_bundle_prefers_option_then_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = bundle(tmp_path)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    system = http.ca_bundle(None)
    monkeypatch.setenv("SSL_CERT_FILE", mine)
    assert http.ca_bundle(None) == mine != system
    assert http.ca_bundle(system) == system
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    assert http.ca_bundle(None) == mine
    with refused("invalid_input") as info:
        http.ca_bundle("/no/such/file")
    assert "ca_path is '/no/such/file'" in info.value.message


def test_a_machine_without_any_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.os.path, "isfile", lambda _path: False)
    with refused("tls_untrusted"):
        http.ca_bundle(None)


AUTHORITY = fakes.chain()[-1]


def hashed(folder: Path) -> Path:
    """The authority under the name by which OpenSSL looks for it."""
    name = subprocess.run(
        ["openssl", "x509", "-hash", "-noout"], input=fakes.pem(AUTHORITY), capture_output=True, check=True
    )
    path = folder / f"{name.stdout.decode().strip()}.0"
    path.write_bytes(fakes.pem(AUTHORITY))
    return path


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose bundle knows the authority, without a folder of single ones."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "certs").mkdir()
    monkeypatch.setattr(http, "_BUNDLES", (bundle(tmp_path / "certs"),))
    monkeypatch.setattr(http.Http, "lean", True)
    return tmp_path / "certs"


def test_folder_is_the_distributions_own_or_none(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert http.ca_folder(None) is None  # no authority under such a name
    hashed(distribution)
    assert http.ca_folder(None) == str(distribution)
    assert http.ca_folder(str(distribution / "ca.pem")) is None
    for name in ("SSL_CERT_DIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, __file__)
        assert http.ca_folder(None) is None, name
        monkeypatch.delenv(name)


@pytest.mark.parametrize("kept", ["both", "bundle", "folder"])
def test_tls_is_verified_against_the_distributions_folder_or_bundle(
    kept: str, distribution: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: t.List[t.Any] = []
    usual = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **place: made.append(place) or usual(**place))
    name = hashed(distribution)
    other = fakes.pem(fakes.chain()[0])
    if kept == "bundle":
        name.write_bytes(other)
    if kept == "folder":
        (distribution / "ca.pem").write_bytes(other)
    with Site(answer({"a": 1}), tls=tls(tmp_path, "localhost")) as site:
        client = http.Http()
        for _round in range(2):
            assert client.request("the vault", "GET", f"https://localhost:{site.port}/").json() == {"a": 1}
    assert len(site.asked) == 2
    in_turn = [{"capath": str(distribution)}, {"cafile": str(distribution / "ca.pem")}]
    assert made == (in_turn if kept == "bundle" else in_turn[:1])


@pytest.mark.parametrize("stranger", ["authority", "host"])
def test_what_neither_folder_nor_bundle_verifies_is_refused(stranger: str, distribution: Path, tmp_path: Path) -> None:
    name = hashed(distribution)
    if stranger == "authority":
        other = fakes.pem(fakes.chain()[0])
        name.write_bytes(other)
        (distribution / "ca.pem").write_bytes(other)
    host = "localhost" if stranger == "authority" else "elsewhere.example"
    with Site(answer({}), tls=tls(tmp_path, host)) as site:
        client = http.Http(sleep=Slept())
        for _round in range(2):
            with refused("tls_untrusted") as info:
                client.request("the vault", "GET", f"https://localhost:{site.port}/", AGAIN)
            assert str(distribution / "ca.pem") in info.value.message
    assert not site.asked


# --- proxies


def test_the_environments_proxy_is_used_for_services_and_never_for_the_local_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Site(answer({"from": "proxy"})) as proxy, Site(answer({"from": "site"})) as site:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert http.Http().request("the vault", "GET", f"{site.url}/x").json() == {"from": "proxy"}
        assert client()[0].request("the metadata service", "GET", f"{site.url}/x").json() == {"from": "site"}
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert http.Http().request("the vault", "GET", f"{site.url}/x").json() == {"from": "site"}
    assert len(proxy.asked) == 1


def test_the_proxy_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Site(answer({"from": "option"})) as mine, Site(answer({"from": "environment"})) as other:
        monkeypatch.setenv("http_proxy", other.url)
        monkeypatch.setenv("no_proxy", "*")
        assert http.Http(https_proxy=mine.url).request("x", "GET", "http://a.invalid/").json() == {"from": "option"}
    assert not other.asked


@pytest.mark.parametrize("status", [407, 502])
def test_a_proxy_that_refuses_to_connect_is_named_without_its_password(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site((status, {}, b"no")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:sentinel@127.0.0.1:{proxy.port}")
        with refused("network_unreachable") as info:
            http.Http().request("the vault", "GET", "https://a.invalid/")
    assert proxy.asked[0].method == "CONNECT"
    assert f"Tunnel connection failed: {status}" in info.value.message
    assert info.value.facts["proxy_variables"] == ["https_proxy"]
    assert "sentinel" not in json.dumps(info.value.as_result())


def test_credentials_of_netrc_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login u password sentinel\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Site(answer({})) as site:
        client()[0].request("the vault", "GET", site.url)
    assert "authorization" not in site.asked[0].headers


def raw(head: bytes) -> t.Callable[[socket.socket], None]:
    def reply(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 " + head + b"\r\nConnection: close\r\n\r\n{}")

    return reply


@pytest.mark.parametrize("length", [b"\xb2", b"9" * 5000, b"-1", b"+2", b"0x2"])
def test_a_length_that_is_no_number(length: bytes) -> None:
    """A superscript passes str.isdigit, and int() refuses it."""
    port, _seen = once(raw(b"200 OK\r\nContent-Length: " + length))
    assert client()[0].request("the service", "GET", f"http://127.0.0.1:{port}/").status == 200


@pytest.mark.parametrize("location", [b"\xff\xfe", b"https://[", b"//[x]:y/", b""])
def test_a_redirect_to_nowhere(location: bytes) -> None:
    port, _seen = once(raw(b"302 Found\r\nLocation: " + location))
    with refused("redirect_refused"):
        client()[0].request("the service", "GET", f"http://127.0.0.1:{port}/")


def test_a_malformed_cookie_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The standard library would warn with a traceback."""
    port, _seen = once(raw(b"200 OK\r\nSet-Cookie: a=b; Expires=Thu, 01 Jbn 1970 00:00:00 GMT\r\nContent-Length: 2"))
    with warnings.catch_warnings():
        warnings.resetwarnings()
        assert client()[0].request("the service", "GET", f"http://127.0.0.1:{port}/").json() == {}
    assert capfd.readouterr() == ("", "")
