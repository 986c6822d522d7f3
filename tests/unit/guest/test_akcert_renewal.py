# SPDX-License-Identifier: GPL-3.0-or-later
"""Renewal of the AK certificate: what is asked, what is accepted, and where it is written."""

from __future__ import annotations

import base64
import time
import typing as t
import warnings
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from unit.guest import tpm_fakes as fakes
from unit.guest.release_fakes import Answer, Site, answer, refused
from unit.guest.silicon_fakes import modulus_of, pem, rsa_key
from unit.guest.tpm_fakes import FakeTpm, ak_certificate, open_fake

from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import akcert, akcert_renewal, attest
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.http import Http
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.imds import Imds
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrWarning

AK, DAY = rsa_key("ak"), 86400
VM_ID: Answer = (200, {}, b"26f8bc30-774e-4290-8e7a-535f3b672aee")
OLD = ak_certificate(AK, end=time.time() + 20 * DAY)
NEW = ak_certificate(AK)
PLATFORM, OWNER = 0x62060004, 0x20020002


@pytest.fixture
def tpm(monkeypatch: pytest.MonkeyPatch) -> FakeTpm:
    made = FakeTpm()
    made.nv[fakes.AK_CERT] = fakes.Nv(OWNER, 4096, OLD.ljust(4096, b"\0"))
    return made


def old() -> akcert.AkCertificate:
    return akcert.parse(OLD, modulus_of(AK))


def given(certificate: bytes = NEW) -> Answer:
    return answer({"AkCertPem": pem(certificate), "CertQueryId": "q-1"})


def renew(
    monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm, site: Site, slept: t.Optional[t.List[float]] = None
) -> t.Tuple[akcert.AkCertificate, bool]:
    sleep = [].append if slept is None else slept.append
    imds = Imds(Http(local=True, sleep=[].append), site.url, sleep)
    return akcert_renewal.renew(open_fake(monkeypatch, tpm), imds, old())


def test_at_once(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    with Site(VM_ID, given()) as site:
        new, stored = renew(monkeypatch, tpm, site)
    assert new.der == NEW and stored
    assert [asked.method for asked in site.asked] == ["GET", "POST"]
    assert all(asked.headers["metadata"] == "true" for asked in site.asked)
    assert site.asked[0].path == "/metadata/instance/compute/vmId?api-version=2019-03-11&format=text"
    parts = urlsplit(site.asked[1].path)
    query = parse_qs(parts.query)
    assert parts.path == "/metadata/THIM/tvm/certificate/renew"
    assert query["api-version"] == ["2023-07-01"] and query["vmId"] == [VM_ID[2].decode()]
    assert len(query["requestId"][0]) == 36
    assert site.asked[1].headers["content-type"] == "application/x-www-form-urlencoded"
    sent = unquote(site.asked[1].body.decode()).split("\n")
    assert base64.b64decode(sent[1], validate=True) == OLD and sent[0] == "-----BEGIN CERTIFICATE-----"


def test_after_a_while(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    """The synchronous way is not there; the other takes a minute."""
    slept: t.List[float] = []
    with Site(VM_ID, answer({}, 404), answer({"CertQueryId": "q-1"}), given()) as site:
        new, stored = renew(monkeypatch, tpm, site, slept)
    assert new.der == NEW and stored and slept == [60.0]
    queries = [parse_qs(urlsplit(asked.path).query) for asked in site.asked]
    assert [query["api-version"] for query in queries[1:]] == [["2023-07-01"], ["2021-12-01"], ["2021-12-01"]]
    assert urlsplit(site.asked[3].path).path == "/metadata/THIM/tvm/certificate/query" and site.asked[3].method == "GET"
    assert queries[3]["guid"] == ["q-1"] and queries[3]["requestId"] == queries[1]["requestId"]


@pytest.mark.parametrize(
    "answers",
    [
        [answer({}, 404)],
        [answer({}, 200)],
        [answer({"AkCertPem": "no certificate"})],
        [given(OLD)],
        [given(ak_certificate(rsa_key("other ak")))],
        [given(ak_certificate(AK, begin=1.0, end=86400.0))],
        [answer({}, 500), answer({"CertQueryId": "q"}), answer({"CertQueryId": "q"})],
    ],
    ids=["not there", "empty", "no certificate", "the old one", "another key", "expired", "never made"],
)
def test_nothing_of_use(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm, answers: t.List[Answer]) -> None:
    with Site(VM_ID, *answers) as site, refused("ak_renewal"):
        renew(monkeypatch, tpm, site)
    content = tpm.nv[fakes.AK_CERT].content
    assert content is not None and content.startswith(OLD) and fakes.NV_WRITE not in tpm.counts()


def test_a_vm_id_that_is_none(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    with Site((200, {}, b"<html>")) as site, refused("imds_error"):
        renew(monkeypatch, tpm, site)


# --- writing it back


@pytest.mark.parametrize("size", [len(NEW), 2048, 4096])
def test_in_place(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm, size: int) -> None:
    tpm.nv[fakes.AK_CERT] = fakes.Nv(OWNER, size, OLD.ljust(size, b"\xff")[:size])
    assert akcert_renewal.store(open_fake(monkeypatch, tpm), NEW)
    assert tpm.nv[fakes.AK_CERT].content == NEW.ljust(size, b"\0")
    assert fakes.NV_UNDEFINE not in tpm.counts()


def test_only_the_platform_may(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    tpm.nv[fakes.AK_CERT].attributes = PLATFORM
    assert not akcert_renewal.store(open_fake(monkeypatch, tpm), NEW)
    assert not {fakes.NV_WRITE, fakes.NV_UNDEFINE} & set(tpm.counts())


@pytest.mark.parametrize("index", [fakes.Nv(0x20040004, 4096, OLD.ljust(4096, b"\0")), fakes.Nv(OWNER, 64), None])
def test_an_index_that_must_be_made_anew(
    monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm, index: t.Optional[fakes.Nv]
) -> None:
    """The owner may not write it, or it is too small, or it is not there."""
    del tpm.nv[fakes.AK_CERT]
    if index is not None:
        tpm.nv[fakes.AK_CERT] = index
    assert akcert_renewal.store(open_fake(monkeypatch, tpm), NEW)
    made = tpm.nv[fakes.AK_CERT]
    assert made.content is not None and made.content.rstrip(b"\0") == NEW.rstrip(b"\0")
    assert made.attributes & 0x20002 == 0x20002 and not made.attributes & 0x20000000


# --- within an attestation


class Renewer:
    """A session with a metadata service of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm, site: Site, when: str = "when_due") -> None:
        guest = attest.Guest("https://a.attest.azure.net", renew_ak_certificate=when, ca_path=__file__)
        imds = Imds(Http(local=True, sleep=[].append), site.url, [].append)
        self.session = attest.Session(guest, open_fake(monkeypatch, tpm), Http(local=True), imds)

    def run(self, certificate: bytes) -> t.Tuple[akcert.AkCertificate, t.List[str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SkrWarning)
            found = self.session._renewed(akcert.read(certificate, modulus_of(AK)))
        return found, [str(one.message) for one in caught]


def test_when_it_is_not_due(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    with Site(answer({}, 500)) as site:
        found, told = Renewer(monkeypatch, tpm, site).run(NEW)
    assert found.der == NEW and told == [] and site.asked == []


def test_for_this_attestation_only(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    tpm.nv[fakes.AK_CERT].attributes = PLATFORM
    with Site(VM_ID, given()) as site:
        found, told = Renewer(monkeypatch, tpm, site).run(OLD)
    assert found.der == NEW and len(told) == 1 and "this attestation only" in told[0]


def test_a_failure_is_a_warning(monkeypatch: pytest.MonkeyPatch, tpm: FakeTpm) -> None:
    with Site(VM_ID, answer({}, 404)) as site:
        found, told = Renewer(monkeypatch, tpm, site).run(OLD)
    assert found.der == OLD and len(told) == 1 and "was not renewed" in told[0]
