# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxy, CA bundle, time limits and user agent, as every client gets them."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from unit.azure.fakes import login

from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import clients, transport
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A file with one certificate authority."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "ca.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_options(bundle: Path) -> None:
    made = clients.Connection(login(), str(bundle), "http://p:3128")
    found = made._transport()
    assert found["connection_verify"] == str(bundle)
    assert found["proxies"] == {"https": "http://p:3128", "http": "http://p:3128"}
    assert found["connection_timeout"] <= 30 and found["read_timeout"] <= 300
    found.clear()
    assert made._transport()  # each caller has its own


def test_nothing_of_the_environment_is_repeated_to_the_sdk(bundle: Path) -> None:
    """It reads proxies, their exceptions and the bundle itself; giving them would take NO_PROXY away."""
    environ = {"HTTPS_PROXY": "http://p:3128", "REQUESTS_CA_BUNDLE": str(bundle)}
    found = transport.keywords(None, None, environ)
    assert "proxies" not in found and "connection_verify" not in found


def test_a_folder_of_certificates_is_a_bundle(tmp_path: Path) -> None:
    assert transport.keywords(str(tmp_path), None, {})["connection_verify"] == str(tmp_path)


@pytest.mark.parametrize("option", ["ca_path", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_bundle_that_is_none_is_named(option: str, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SkrFailure) as caught:
        transport.keywords(str(path) if option == "ca_path" else None, None, {option: str(path)})
    assert caught.value.reason == "invalid_input" and caught.value.facts == {"option": option}
    assert option in caught.value.message and str(path) in caught.value.message


def test_option_hides_a_bad_variable(bundle: Path) -> None:
    assert transport.keywords(str(bundle), None, {"REQUESTS_CA_BUNDLE": "/nowhere"})["connection_verify"] == str(bundle)
    assert "connection_verify" not in transport.keywords(None, None, {"REQUESTS_CA_BUNDLE": ""})


@pytest.mark.parametrize(
    ("added", "wanted"),
    [
        (None, "confidential.azure_skr"),
        ("", "confidential.azure_skr"),
        (" pid-1234 ", "confidential.azure_skr pid-1234"),
    ],
)
def test_user_agent(added: str | None, wanted: str) -> None:
    environ = {} if added is None else {"AZURE_HTTP_USER_AGENT": added}
    found = transport.keywords(None, None, environ)
    assert found["user_agent"] == wanted and found["user_agent_use_env"] is False


@pytest.mark.parametrize("added", ["a\r\nX-Other: b", "é", "a\x00"])
def test_user_agent_that_is_no_header(added: str) -> None:
    with pytest.raises(SkrFailure) as caught:
        transport.user_agent({"AZURE_HTTP_USER_AGENT": added})
    assert caught.value.reason == "invalid_input" and "AZURE_HTTP_USER_AGENT" in caught.value.message


def test_bundle_is_checked_before_anything_is_made() -> None:
    with pytest.raises(SkrFailure) as caught:
        _unused = clients.Connection(login(), ca_path="/nowhere/ca.pem").credential
    assert caught.value.reason == "invalid_input" and "/nowhere/ca.pem" in caught.value.message
