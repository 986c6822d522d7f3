# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the way to each host: name resolution, then a TLS connection, direct or through the proxy.

Verification is never switched off, not even to look at a certificate that does not verify: up to TLS 1.2 a server's
certificates are readable in the handshake, so they are read from the bytes of one that is refused.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import re
import socket
import ssl
import typing as t
from urllib.parse import unquote, urlsplit

from ...policy.failure import SkrFailure
from .. import clouds, der
from ..http import Http, ca_bundle
from . import findings
from .findings import Finding
from .patient import Notes, Told, Wanted, bounded, guarded

_TIMEOUT = 5.0  # less than patient.LIMIT: a step that hangs is told as such, not as a check that took too long
# The private ranges: RFC 1918, RFC 6598 and RFC 4193. Loopback and link-local are no private endpoints.
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
# Microsoft Learn, "Azure Certificate Authority details": who issues for Azure's names.
_AZURES = re.compile(r"\b(Microsoft|DigiCert|Baltimore|GlobalSign|CFCA)\b|^(MSIT|TrustAsia)", re.IGNORECASE)
# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _NAME = 9, 10, 62


class Place(t.NamedTuple):
    """One host that a release needs."""

    what: str  # such as "the vault"
    url: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 443


def examine(wanted: Wanted, place: Place, http: Http, notes: Notes) -> t.List[Finding]:
    """Resolution and connection; ``notes.open`` has the host afterwards where both are fine."""
    proxies = http.proxies(place.url)
    proxy = proxies.get("https") or proxies.get("all") or ""
    made: t.List[Finding] = []
    if proxy:
        shown = urlsplit(proxy).hostname or "the proxy"
        made.append(findings.skipped("name_resolution", f"The proxy {shown} resolves the name.", place.host))
    else:
        made += guarded("name_resolution", lambda: bounded(lambda: _resolve(place)), place.host)
        if made[0].severity == "failed":
            return [*made, findings.skipped("connection", "The name does not resolve.", place.host)]
    bundle = ca_bundle(wanted.guest.ca_path)
    found = guarded("connection", lambda: bounded(lambda: [_connect(place, proxy, bundle)]), place.host)
    if found[0].severity == "ok":
        notes.open.add(place.host)
    return made + found


# --- names


def _resolve(place: Place) -> t.List[Finding]:
    try:
        answers = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError) as error:
        text = getattr(error, "strerror", None) or type(error).__name__
        told = findings.found("failed", "name_resolution", "name_not_resolved", f"{place.host}: {text}.", place.host)
        raise Told(told) from error
    addresses = sorted({str(answer[4][0]) for answer in answers})
    canonical = answers[0][3] or place.host
    facts = {"addresses": addresses, "canonical_name": canonical}
    text = f"{place.what}: {', '.join(addresses)}" + (f" ({canonical})" if canonical != place.host else "")
    if any(private(address) for address in addresses):
        return [
            findings.found(
                "info", "name_resolution", "private_address", f"{text}, a private address.", place.host, **facts
            )
        ]
    return [findings.ok("name_resolution", f"{text}.", place.host, **facts)]


def private(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(found.version == network.version and found in network for network in _PRIVATE)


# --- connections


def _connect(place: Place, proxy: str, bundle: str) -> Finding:
    """A verified connection, or Told why there is none."""
    way = f" through the proxy {urlsplit(proxy).hostname}" if proxy else ""
    context = _context(bundle)
    with contextlib.closing(_open(place, proxy)) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=place.host) as tunnel:
                issuer, version = _issuer(tunnel.getpeercert()), tunnel.version()
        except ssl.SSLCertVerificationError as error:
            raise Told(_untrusted(place, proxy, bundle, error)) from error
        except OSError as error:  # ssl.SSLError is one
            text = f"{place.what}: the TLS handshake{way} failed ({_kind(error)})."
            raise Told(_failed("host_unreachable", place, text)) from error
    return findings.ok(
        "connection", f"{place.what}: verified{way}; issued by {issuer}.", place.host, issuer=issuer, tls=version
    )


def _context(bundle: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise SkrFailure(
            "invalid_input", f"ca_path is {bundle!r}, wanted a PEM file of CA certificates.", {"option": "ca_path"}
        ) from error


def _open(place: Place, proxy: str) -> socket.socket:
    """A connection to the host, through the proxy where there is one. Raises Told."""
    if not proxy:
        try:
            return socket.create_connection((place.host, place.port), _TIMEOUT)
        except OSError as error:
            text = f"{place.what}: no connection to {place.host}:{place.port} ({_kind(error)})."
            raise Told(_failed("host_unreachable", place, text, error=_kind(error))) from error
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    name = f"{parts.hostname}:{parts.port or 80}"
    try:
        made = socket.create_connection((parts.hostname or "", parts.port or 80), _TIMEOUT)
    except OSError as error:
        text = f"{place.what}: the proxy {name} cannot be reached ({_kind(error)})."
        raise Told(_failed("proxy_unreachable", place, text, proxy=name)) from error
    try:
        if parts.scheme == "https":
            made = ssl.create_default_context().wrap_socket(made, server_hostname=parts.hostname)
        status = _tunnel(made, place, parts.username, parts.password)
    except OSError as error:
        made.close()
        text = f"{place.what}: the proxy {name} broke off ({_kind(error)})."
        raise Told(_failed("proxy_unreachable", place, text, proxy=name)) from error
    if not status.startswith("200"):
        made.close()
        text = f"{place.what}: the proxy {name} refuses {place.host}:{place.port} ({status})."
        raise Told(_failed("proxy_refused", place, text, proxy=name, status=status))
    return made


def _tunnel(connection: socket.socket, place: Place, user: t.Optional[str], password: t.Optional[str]) -> str:
    """CONNECT (RFC 9110, 9.3.6); returns status and words. Raises OSError."""
    lines = [f"CONNECT {place.host}:{place.port} HTTP/1.1", f"Host: {place.host}:{place.port}"]
    if user is not None:
        word = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {word}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # a byte at a time: what follows is TLS
        piece = connection.recv(1)
        if not piece or len(head) > 1 << 16:
            raise OSError("no answer to CONNECT")
        head += piece
    return head.decode("latin-1").split("\r\n")[0].partition(" ")[2][:80]


def _untrusted(place: Place, proxy: str, bundle: str, error: ssl.SSLCertVerificationError) -> Finding:
    """Tells what is wrong with the certificate, and names it."""
    shown = _shown(place, proxy, bundle)
    leaf = shown[0] if shown else None
    subject, issuer = (leaf.common_name(), leaf.common_name("issuer")) if leaf else ("", "")
    facts = {"subject": subject, "issuer": issuer, "ca_path": bundle, "verify_code": error.verify_code}
    whose = f" (for {subject or 'nobody'}, issued by {issuer or 'nobody'})" if leaf else ""
    what = f"{place.what}: the certificate of {place.host}{whose}"
    if error.verify_code == _NAME:
        return _failed("tls_name_mismatch", place, f"{what} is for another name.", **facts)
    if error.verify_code == _EXPIRED:
        return _failed("tls_expired", place, f"{what} has expired.", **facts)
    if error.verify_code == _NOT_YET_VALID:
        return _failed("tls_not_yet_valid", place, f"{what} is not valid yet.", **facts)
    if leaf and clouds.by_host(place.host) and not _AZURES.search(issuer):
        text = f"{what} is of an authority that Azure does not use, and not in {bundle}."
        return _failed("tls_intercepted", place, text, **facts)
    return _failed("tls_untrusted", place, f"{what} does not verify against {bundle}.", **facts)


def _shown(place: Place, proxy: str, bundle: str) -> t.List[der.Certificate]:
    """The certificates that the server shows, from a second handshake that is refused like the first."""
    context = _context(bundle)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tunnel = context.wrap_bio(incoming, outgoing, server_hostname=place.host)
    received = b""
    try:
        with contextlib.closing(_open(place, proxy)) as plain:
            while len(received) < 1 << 17:
                try:
                    tunnel.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                piece = plain.recv(1 << 14)
                if not piece:
                    break
                received += piece
                incoming.write(piece)
    except (OSError, Told):  # the refusal itself is one; the certificates have come before it
        pass
    return certificates(received)


def certificates(stream: bytes) -> t.List[der.Certificate]:
    """The certificates in a TLS 1.2 server's first messages (RFC 5246, 6.2.1 and 7.4.2); none where there are none."""
    messages, at = b"", 0
    while at + 5 <= len(stream) and stream[at] == 22:  # handshake records; encrypted ones come after another kind
        size = int.from_bytes(stream[at + 3 : at + 5], "big")
        messages += stream[at + 5 : at + 5 + size]
        at += 5 + size
    at = 0
    while at + 4 <= len(messages):
        kind, size = messages[at], int.from_bytes(messages[at + 1 : at + 4], "big")
        body = messages[at + 4 : at + 4 + size]
        at += 4 + size
        if kind == 11:
            return _listed(body[3:])
    return []


def _listed(body: bytes) -> t.List[der.Certificate]:
    made, at = [], 0
    while at + 3 <= len(body):
        size = int.from_bytes(body[at : at + 3], "big")
        try:
            made.append(der.certificate(body[at + 3 : at + 3 + size]))
        except der.DerError:
            break
        at += 3 + size
    return made


def _issuer(peer: t.Any) -> str:
    """The issuer's common name, or organisation, of a verified certificate."""
    named = {name: value for part in (peer or {}).get("issuer", ()) for name, value in part}
    return str(named.get("commonName") or named.get("organizationName") or "an unnamed authority")


def _failed(code: str, place: Place, text: str, /, **facts: t.Any) -> Finding:
    return findings.found("failed", "connection", code, text, place.host, **facts)


def _kind(error: OSError) -> str:
    if isinstance(error, socket.timeout):
        return f"no answer within {_TIMEOUT:.0f} seconds"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or type(error).__name__)
    return error.strerror or str(error) or type(error).__name__
