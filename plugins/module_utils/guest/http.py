# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP as this collection uses it: verified TLS, no redirects, bounded retries that honour Retry-After.

Two clients: one for services on the network (proxy and CA by option or environment), one for the metadata service,
which is never asked through a proxy.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import ssl
import threading
import time
import typing as t
import urllib.request
import warnings
from urllib.parse import urlsplit

from ..policy.failure import SkrFailure
from . import documents

if t.TYPE_CHECKING:
    import requests

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Where distributions keep the system's CA bundle, most common first.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]\Z")
_MAX_BODY = 4 << 20
_MAX_WAIT = 60.0


class Reply(t.NamedTuple):
    """A response: status, headers (lower-case names) and body."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes

    def json(self) -> t.Dict[str, t.Any]:
        """The body as a JSON object; an empty dictionary when it is anything else."""
        try:
            document = documents.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def request_id(self) -> str:
        return self.headers.get("x-ms-request-id", "")


class Retry(t.NamedTuple):
    """Which statuses are asked again, and the pauses before each further try in seconds."""

    statuses: t.FrozenSet[int]
    pauses: t.Tuple[float, ...]


NEVER = Retry(frozenset(), ())
SERVER_ERRORS = frozenset({500, 502, 503, 504})


def ca_bundle(ca_path: t.Optional[str]) -> str:
    """The CA bundle file in use: the option, else the variables requests and OpenSSL know, else the system's.

    Raises SkrFailure ``invalid_input`` when the option names no readable file.
    """
    if ca_path:
        if not os.access(ca_path, os.R_OK):
            raise SkrFailure(
                "invalid_input", f"ca_path is {ca_path!r}, wanted a readable PEM file.", {"option": "ca_path"}
            )
        return ca_path
    candidates = [os.environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")]
    for path in [*candidates, *_BUNDLES, ssl.get_default_verify_paths().cafile or ""]:
        if path and os.path.isfile(path):
            return path
    raise SkrFailure("tls_untrusted", "This machine has no CA bundle.", {"looked_at": list(_BUNDLES)})


def ca_folder(ca_path: t.Optional[str]) -> t.Optional[str]:
    """The folder in which the distribution keeps the authorities of its bundle under OpenSSL's names, if it has one.

    OpenSSL reads from it the one authority that it needs, which spares reading some 150. Whoever names a bundle, by the
    option or by a variable, means that bundle and nothing else.
    """
    if not ca_path and not os.environ.get("SSL_CERT_DIR"):
        bundle = ca_bundle(None)
        folder = os.path.dirname(bundle)
        with contextlib.suppress(OSError):
            if bundle in _BUNDLES and any(_HASHED.match(name) for name in os.listdir(folder)):
                return folder
    return None


def service_address(option: str, url: str, example: str) -> str:
    """An option's URL as ``https://host``, in lower case and without a final slash.

    Raises SkrFailure ``invalid_input`` for anything but https to a host alone.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # a bracket without its counterpart
        parts, host = urlsplit(""), ""
    if parts.scheme != "https" or not host or "@" in parts.netloc or parts.path.strip("/") or parts.query:
        found = "a URL with a user name" if "@" in url else repr(url)  # it may hold a password
        raise SkrFailure(
            "invalid_input",
            f"{option} is {found}, wanted an https URL of a host alone, such as {example}.",
            {"option": option},
        )
    return f"https://{parts.netloc.lower()}"


def proxy_variables() -> t.List[str]:
    """Names of the proxy variables that are set; their values may hold credentials."""
    return sorted(name for name in os.environ if name.lower() in PROXY_VARIABLES and os.environ[name])


class Http:
    """A client that counts its requests."""

    lean = False  # set by the agent, whose start is to be short: the standard library alone, where it can

    def __init__(
        self,
        ca_path: t.Optional[str] = None,
        https_proxy: t.Optional[str] = None,
        local: bool = False,
        timeout: t.Tuple[float, float] = (10.0, 60.0),
        sleep: t.Optional[t.Callable[[float], None]] = None,
    ) -> None:
        self.count = 0
        self._bundle = None if local else ca_bundle(ca_path)
        self._folder = None if local else ca_folder(ca_path)
        self._proxy, self._local, self._timeout = https_proxy, local, timeout
        self._sleep = time.sleep if sleep is None else sleep
        self._session: t.Any = None
        self._lock = threading.Lock()
        self.given_up = False  # set by whoever does not wait for the answer any more: nothing is asked again

    def request(
        self,
        what: str,
        method: str,
        url: str,
        retry: Retry = NEVER,
        headers: t.Optional[t.Mapping[str, str]] = None,
        params: t.Optional[t.Mapping[str, str]] = None,
        document: t.Any = None,
        form: t.Union[t.Mapping[str, str], bytes, None] = None,
    ) -> Reply:
        """One call; ``what`` names the service in messages, ``document`` is sent as JSON, ``form`` percent-encoded.

        Raises SkrFailure: network_unreachable, tls_untrusted, redirect_refused. Any other status is returned.
        """
        pauses = list(retry.pauses)
        while True:
            reply: t.Optional[Reply] = None
            try:
                reply = self._once(what, method, url, headers, params, document, form)
            except SkrFailure as error:
                if error.reason != "network_unreachable" or not pauses:
                    raise
            if reply is not None and (reply.status not in retry.statuses or not pauses):
                return reply
            pause = pauses.pop(0)
            # Jitter keeps a fleet from coming back in step, also where a service tells all of it the same moment.
            told = retry_after(reply)
            self._sleep(told + random.uniform(0.0, pause) if told else pause * random.uniform(0.5, 1.0))
            if self.given_up:
                raise SkrFailure("network_unreachable", f"{what} is not asked again.", {"given_up": True})

    def _once(
        self,
        what: str,
        method: str,
        url: str,
        headers: t.Optional[t.Mapping[str, str]],
        params: t.Optional[t.Mapping[str, str]],
        document: t.Any,
        form: t.Union[t.Mapping[str, str], bytes, None],
    ) -> Reply:
        host = urlsplit(url).hostname or url
        self.count += 1
        try:
            with self.ready().request(
                method,
                url,
                headers=dict(headers or {}),
                params=params,
                json=document,
                data=form,
                timeout=self._timeout,
                allow_redirects=False,
                verify=True,  # against the bundle, which the session's adapter alone knows
                proxies=self.proxies(url),
                stream=True,
            ) as response:
                body = _bounded(response)
                reply = Reply(
                    response.status_code, {name.lower(): value for name, value in response.headers.items()}, body
                )
        except OSError as error:  # those of requests are all of this kind
            if type(error).__name__ == "SSLError" or isinstance(error, ssl.SSLError):
                raise self._tls_failure(what, host, error) from error
            raise SkrFailure(
                "network_unreachable",
                f"{what} at {host} cannot be reached ({_kind(error)}).",
                {"host": host, "error": _kind(error), "proxy_variables": proxy_variables()},
            ) from error
        length = _number(reply.headers.get("content-length", ""))
        if length not in (None, len(body)) and "content-encoding" not in reply.headers and len(body) <= _MAX_BODY:
            raise SkrFailure("network_unreachable", f"{what} at {host} broke off its answer.", {"host": host})
        if 300 <= reply.status < 400:
            raise SkrFailure(
                "redirect_refused", f"{what} at {host} answered with a redirect ({reply.status}).", {"host": host}
            )
        return reply

    def ready(self) -> t.Any:
        """The session, made when the first server is asked; the CA bundle is read then, once for all of them.

        Raises SkrFailure ``library_missing``, and ssl.SSLError where the bundle holds no certificates.
        """
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> t.Any:
        if self.lean:
            from . import lean

            if lean.serves(self.proxies("https://vault.invalid")):
                return lean.Session(*self._contexts())
        made = _session()
        if self._bundle:
            from . import trust

            made.mount("https://", trust.adapter(self._bundle))
        return made

    def _contexts(self) -> t.List[t.Callable[[], ssl.SSLContext]]:
        """What servers are verified against: the distribution's folder, then its bundle, or what the user named alone."""
        made: t.List[t.Callable[[], ssl.SSLContext]] = []
        if self._folder:
            made.append(functools.partial(ssl.create_default_context, capath=self._folder))
        if self._bundle:
            made.append(functools.partial(ssl.create_default_context, cafile=self._bundle))
        return made

    def _tls_failure(self, what: str, host: str, error: BaseException) -> SkrFailure:
        """A broken handshake may pass and is not a matter of trust; a bundle without certificates is the user's."""
        cause = _innermost(error)
        facts: t.Dict[str, t.Any] = {"host": host, "ca_path": self._bundle, "error": _kind(error)}
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError):
            if cause.library in ("X509", "PEM"):
                return SkrFailure(
                    "invalid_input",
                    f"ca_path is {self._bundle!r}, wanted a PEM file of CA certificates.",
                    {**facts, "option": "ca_path"},
                )
            return SkrFailure("network_unreachable", f"TLS with {what} at {host} failed ({facts['error']}).", facts)
        # OpenSSL's words, which name no more than the certificate's fault.
        why = str(getattr(cause, "verify_message", "")).rstrip(".")
        text = f"The certificate of {what} at {host} does not verify against {self._bundle}"
        return SkrFailure("tls_untrusted", f"{text}: {why}." if why else f"{text}.", facts)

    def proxies(self, url: str) -> t.Dict[str, str]:
        """The proxies for this address, by scheme; empty for none."""
        if self._local:
            return {}
        if self._proxy:
            return {"https": self._proxy, "http": self._proxy}
        host = urlsplit(url).hostname or ""
        return {} if urllib.request.proxy_bypass(host) else dict(urllib.request.getproxies())


def _session() -> requests.Session:
    """A session that takes nothing from the environment by itself: no proxy, no netrc."""
    try:
        import requests
    except ImportError as error:
        import sys

        raise SkrFailure(
            "library_missing",
            f"The Python package requests is not installed for {sys.executable}.",
            {"package": "requests"},
        ) from error
    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = "confidential.azure_skr"
    # The standard library warns of malformed cookies with a traceback; nobody here wants any.
    warnings.filterwarnings("ignore", "http.cookiejar bug")
    # Where it is not followed, requests takes a redirect's address apart all the same, and stumbles over malformed ones.
    session.get_redirect_target = lambda _response: None  # type: ignore[method-assign, assignment]
    return session


def _bounded(response: requests.Response) -> bytes:
    """The decoded body, as far as the largest answer that any of the services gives."""
    body = b""
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > _MAX_BODY:
            break
    return body


def _innermost(error: BaseException) -> BaseException:
    """The cause that requests and urllib3 have wrapped: as ``reason``, as an argument, or as what was being handled."""
    for _depth in range(8):  # more wrapping than these libraries do
        inner = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
        found = next((one for one in inner if isinstance(one, BaseException) and _of_the_network(one)), None)
        if found is None:
            break
        error = found
    return error


def _of_the_network(error: BaseException) -> bool:
    """Not whatever a caller was handling when it asked again."""
    return isinstance(error, OSError) or type(error).__module__.startswith("urllib3.")


def _kind(error: BaseException) -> str:
    """The innermost cause in a word or two: the text of requests' errors quotes whole URLs."""
    error = _innermost(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if str(error).startswith("Tunnel connection failed"):  # http.client's text: the proxy's status line alone
        return str(error)
    return type(error).__name__


def retry_after(reply: t.Optional[Reply]) -> float:
    """Seconds the service asks to wait; 0 when it does not say (dates are not used by these services)."""
    return min(float(_number(reply.headers.get("retry-after", "") if reply else "") or 0), _MAX_WAIT)


def _number(text: str) -> t.Optional[int]:
    """The number that a header tells; str.isdigit would let superscripts pass, which are no numbers."""
    return int(text) if text.isdecimal() and len(text) < 16 else None
