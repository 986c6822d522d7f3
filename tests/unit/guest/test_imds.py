# SPDX-License-Identifier: GPL-3.0-or-later
"""The metadata service: tokens, the choice among identities, THIM, and what stands in the way of reaching it."""

from __future__ import annotations

import json
import socket
import typing as t
from urllib.parse import parse_qs, urlsplit

import pytest
from unit.guest.release_fakes import Answer, Site, answer, refused

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.imds import Identity, Imds

VAULT = "https://vault.azure.net"
TOKEN = answer({"access_token": "sentinel-token", "expires_in": "86399", "token_type": "Bearer"})
MULTIPLE = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*PROXIES, *(name.upper() for name in PROXIES)]:
        monkeypatch.delenv(name, raising=False)


def imds(site: Site, slept: t.Optional[t.List[float]] = None) -> Imds:
    return Imds(Http(local=True, sleep=[].append if slept is None else slept.append), site.url)


def error(code: str, description: str = "", status: int = 400) -> Answer:
    return answer({"error": code, "error_description": description}, status)


def test_asks_as_the_service_wants_to_be_asked() -> None:
    with Site(TOKEN) as site:
        assert imds(site).token(VAULT, Identity()) == "sentinel-token"
    asked = site.asked[0]
    parts = urlsplit(asked.path)
    assert (asked.method, parts.path) == ("GET", "/metadata/identity/oauth2/token")
    assert parse_qs(parts.query) == {"api-version": ["2018-02-01"], "resource": [VAULT]}
    assert asked.headers["metadata"] == "true" and "x-forwarded-for" not in asked.headers


@pytest.mark.parametrize(
    ("identity", "parameter"),
    [
        (Identity(client_id="c-1"), {"client_id": ["c-1"]}),
        (Identity(object_id="o-1"), {"object_id": ["o-1"]}),
        (Identity(resource_id="/subscriptions/s/x"), {"msi_res_id": ["/subscriptions/s/x"]}),
    ],
)
def test_names_an_identity_by_any_of_its_three_ids(identity: Identity, parameter: t.Dict[str, t.List[str]]) -> None:
    with Site(TOKEN) as site:
        imds(site).token(VAULT, identity)
    query = parse_qs(urlsplit(site.asked[0].path).query)
    assert {name: query[name] for name in query if name not in ("api-version", "resource")} == parameter


def test_several_identities_and_none_named_lists_the_known_ones() -> None:
    with Site(error("invalid_request", MULTIPLE)) as site, refused("identity_ambiguous") as info:
        imds(site).token(VAULT, Identity(known=("c-1", "c-2")))
    assert "c-1, c-2" in info.value.message and info.value.facts["client_ids"] == ["c-1", "c-2"]
    assert len(site.asked) == 1


def test_several_identities_without_knowing_them() -> None:
    with Site(error("invalid_request", MULTIPLE)) as site, refused("identity_ambiguous") as info:
        imds(site).token(VAULT, Identity())
    assert info.value.facts["client_ids"] == []


def test_several_known_identities_do_not_depend_on_the_services_words() -> None:
    with Site(error("invalid_request", "reworded")) as site, refused("identity_ambiguous"):
        imds(site).token(VAULT, Identity(known=("c-1", "c-2")))


@pytest.mark.parametrize(
    ("refusal", "identity"),
    [
        (error("invalid_request", "Identity not found"), Identity(client_id="c-9")),
        (error("invalid_request", "Identity not found"), Identity()),
        (error("invalid_request", MULTIPLE), Identity(client_id="c-9")),
        (error("unauthorized_client", "no identity", 401), Identity()),
        (error("unknown_source", "", 401), Identity()),
    ],
)
def test_no_such_identity(refusal: Answer, identity: Identity) -> None:
    with Site(refusal) as site, refused("identity_not_found") as info:
        imds(site).token(VAULT, identity)
    assert ("client_id=c-9" if identity.client_id else "without a name") in info.value.message
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        error("invalid_resource", "AADSTS50001: The application named x was not found"),
        error("bad_request_102", "Required metadata header not specified"),
        answer({"no_token": True}),
        answer({"access_token": 5}),
        answer({"access_token": ""}),
        answer({"access_token": "a\r\nMetadata: true"}),
        answer({"access_token": "t\u00f6ken"}),
        answer({"access_token": "two words"}),
    ],
)
def test_other_refusals_are_reported_as_they_are(refusal: Answer) -> None:
    with Site(refusal) as site, refused("imds_error") as info:
        imds(site).token(VAULT, Identity())
    assert info.value.facts["status"] == refusal[0] and len(site.asked) == 1


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_passing_troubles_are_waited_out(status: int) -> None:
    slept: t.List[float] = []
    with Site(answer({"error": "x"}, status), answer({}, status), TOKEN) as site:
        assert imds(site, slept).token(VAULT, Identity()) == "sentinel-token"
    assert len(site.asked) == 3 and len(slept) == 2 and slept[0] >= 1 and slept[1] >= 2


@pytest.mark.parametrize(("status", "tries"), [(404, 5), (429, 5), (503, 5)])
def test_lasting_troubles_end_after_five_tries(status: int, tries: int) -> None:
    slept: t.List[float] = []
    with Site(answer({"error": "busy"}, status)) as site, refused("imds_error") as info:
        imds(site, slept).token(VAULT, Identity())
    assert len(site.asked) == tries and sum(slept) <= 30
    assert info.value.facts["status"] == status


def test_an_update_of_the_service_is_waited_out() -> None:
    slept: t.List[float] = []
    with Site(answer({"error": "gone"}, 410)) as site, refused("imds_error"):
        imds(site, slept).token(VAULT, Identity())
    assert sum(slept) >= 70 and len(site.asked) == len(slept) + 2


def test_nobody_answers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
        slept: t.List[float] = []
        with refused("imds_unreachable") as info:
            Imds(Http(local=True, sleep=slept.append), endpoint).token(VAULT, Identity())
    assert len(slept) == 4
    assert endpoint in info.value.message and "Connection refused" in info.value.message


@pytest.mark.parametrize("status", [200, 403, 407])
def test_a_page_is_not_the_metadata_service(status: int) -> None:
    with Site((status, {"Content-Type": "text/html"}, b"<html>sentinel</html>")) as site:
        with refused("imds_unreachable") as info:
            imds(site).token(VAULT, Identity())
    assert len(site.asked) == 1 and "sentinel" not in json.dumps(info.value.as_result())


def test_never_asks_a_proxy_and_names_the_variables_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    with Site(answer({"access_token": "from the proxy"})) as proxy, Site(TOKEN) as site:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://user:sentinel@127.0.0.1:{proxy.port}")
        assert imds(site).token(VAULT, Identity()) == "sentinel-token"
        site.answers = [(200, {}, b"<html>")]
        with refused("imds_unreachable") as info:
            imds(site).token(VAULT, Identity())
    assert not proxy.asked
    assert info.value.facts["proxy_variables"] == ["ALL_PROXY", "HTTP_PROXY", "http_proxy"]
    assert "HTTP_PROXY" in info.value.message and "sentinel" not in json.dumps(info.value.as_result())


def test_a_redirect_is_refused() -> None:
    with Site((302, {"Location": "http://elsewhere.invalid/"}, b"")) as site, refused("redirect_refused"):
        imds(site).token(VAULT, Identity())
    assert len(site.asked) == 1


# --- THIM


def test_the_chain_is_put_together_as_given() -> None:
    document = {"vcekCert": "VCEK\n", "certificateChain": "ASK\nARK\n", "tcbm": "DB", "cacheControl": "86400"}
    with Site(answer(document)) as site:
        assert imds(site).vcek_chain() == "VCEK\nASK\nARK\n"
    assert site.asked[0].path == "/metadata/THIM/amd/certification"
    assert site.asked[0].headers["metadata"] == "true"


def test_a_certificate_without_a_line_end_does_not_swallow_the_next() -> None:
    with Site(answer({"vcekCert": "-----END-----", "certificateChain": "-----BEGIN-----"})) as site:
        assert imds(site).vcek_chain() == "-----END-----\n-----BEGIN-----\n"


@pytest.mark.parametrize(
    "refusal",
    [
        answer({"error": "not found"}, 404),
        answer({"error": "bad"}, 400),
        answer({"error": "x"}, 500),
        answer({"vcekCert": "VCEK"}),
        answer({"vcekCert": "", "certificateChain": "x"}),
        answer({"vcekCert": 1, "certificateChain": "x"}),
    ],
)
def test_no_chain(refusal: Answer) -> None:
    with Site(refusal) as site, refused("thim_error") as info:
        imds(site).vcek_chain()
    assert info.value.facts["status"] == refusal[0]


@pytest.mark.parametrize(("part", "reason"), [("\u00e9", "thim_error"), ("\ud800", "imds_unreachable")])
def test_a_chain_beyond_ascii(part: str, reason: str) -> None:
    """What stands between the blocks would be sent to the attestation service as it is."""
    with Site(answer({"vcekCert": f"{part}-----BEGIN", "certificateChain": "x"})) as site:
        with refused(reason):
            imds(site).vcek_chain()


# --- quotes of TD reports

REPORT = bytes(range(256)) * 4


@pytest.mark.parametrize("text", ["_-8", "/+8=", "_-8="])
def test_a_td_quote(text: str) -> None:
    """Asked with the header that hosts began to require; answers come in either alphabet."""
    with Site(answer({"quote": text})) as site:
        assert imds(site).td_quote(REPORT) == b"\xff\xef"
    asked = site.asked[0]
    assert (asked.method, asked.path, asked.headers["metadata"]) == ("POST", "/acc/tdquote", "true")
    text = json.loads(asked.body)["report"]
    assert "=" not in text and "+" not in text and len(text) == 1366


@pytest.mark.parametrize("reply", [answer({}, 400), answer({}), answer({"quote": 5}), answer({"quote": "*"})])
def test_no_td_quote(reply: Answer) -> None:
    with Site(reply) as site, refused("td_quote_unavailable"):
        imds(site).td_quote(REPORT)


def test_a_td_quote_that_takes_a_second_try() -> None:
    with Site(answer({}, 503), answer({"quote": "AAAA"})) as site:
        assert imds(site).td_quote(REPORT) == bytes(3)
