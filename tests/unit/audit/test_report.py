# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a document: structure, what it says of a made-up fleet, contrast, and that it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from typing import Any

import pytest
from unit.audit import samples
from unit.audit.pages import Node, read

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import report
from ansible_collections.confidential.azure_skr.plugins.module_utils.audit.report import charts, palette


@pytest.fixture(scope="module")
def bundle() -> samples.Doc:
    return samples.bundle()


@pytest.fixture(scope="module")
def text(bundle: samples.Doc) -> str:
    return report.html(bundle, samples.findings(bundle))


@pytest.fixture(scope="module")
def page(text: str) -> Node:
    return read(text)


# --- structure


def test_it_has_language_title_landmarks_and_a_way_past_them(page: Node) -> None:
    assert page.attributes["lang"] == "en"
    assert [node.text for node in page.all("title") if "id" not in node.attributes] == [
        "Secure Key Release: evidence report, 2026-11-20 06:30 UTC"
    ]
    assert Counter(node.tag for node in page.all("header", "nav", "main", "footer")) == {
        "header": 1, "nav": 1, "main": 1, "footer": 1
    }  # fmt: skip
    first = page.all("a")[0]
    assert first.attributes["href"] == "#main" and page.all("main")[0].attributes["id"] == "main"


def test_headings_are_in_order(page: Node) -> None:
    levels = [int(node.tag[1]) for node in page.all("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))
    assert all(node.text.strip() for node in page.all("h1", "h2", "h3", "h4"))


def test_every_table_has_a_caption_and_headers_with_scope(page: Node) -> None:
    tables = page.all("table")
    assert len(tables) > 50
    for table in tables:
        assert [node.tag for node in table.children if isinstance(node, Node)][:2] == ["caption", "thead"]
        assert table.all("caption")[0].text.strip()
        assert all(node.attributes.get("scope") in ("col", "row", "rowgroup") for node in table.all("th"))
        assert all(node.attributes["scope"] == "col" and node.text.strip() for node in table.all("thead")[0].all("th"))
        width = len(table.all("thead")[0].all("th"))
        for line in table.all("tbody")[0].all("tr") if table.all("tbody") else []:
            cells = line.all("th", "td")
            assert cells[0].tag == "th" and sum(int(cell.attributes.get("colspan") or 1) for cell in cells) == width


def test_every_link_leads_somewhere_and_every_id_is_there_once(page: Node) -> None:
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    targets = [str(node.attributes["href"]) for node in page.all("a")]
    assert targets and all(target.startswith("#") and target[1:] in ids for target in targets)
    for node in page.walk():
        for name in (node.attributes.get("aria-labelledby") or "").split():
            assert name in ids


def test_every_chart_has_title_axes_and_its_data_as_a_table(page: Node) -> None:
    figures = page.all("figure")
    titles = ["Verdicts by reason", "Secure boot and debugging", "TCB levels", "Key versions in use",
              "AK certificate: days left", "Release latency"]  # fmt: skip
    assert [figure.all("figcaption")[0].children[0] for figure in figures] == titles
    for figure in figures:
        drawing, table = figure.all("svg")[0], figure.all("table")[0]
        assert drawing.attributes["role"] == "img" and drawing.all("title") and drawing.all("desc")[0].text
        axes = [node.text for node in drawing.all("text") if "axis" in node.classes]
        value_axis = table.all("thead")[0].all("th")[1].text
        assert value_axis in axes and "0" in axes
        bars = [node for node in drawing.all("rect") if "class" in node.attributes]
        assert len(bars) == len(table.all("tbody")[0].all("tr"))
        shown = Counter(node.text for node in drawing.all("text"))
        for row in table.all("tbody")[0].all("tr"):
            number = row.all("td")[0].text
            assert number == "0" or shown[number]


def test_colour_is_never_alone(page: Node) -> None:
    badges = [node for node in page.all("span") if "badge" in node.classes]
    assert badges and all(len(node.text.replace("\u00a0", "")) > 2 for node in badges)
    hatched = [node for node in page.all("rect") if node.attributes.get("fill") == "url(#hatch)"]
    alarming = [node for node in page.all("rect") if node.classes & {"bad", "warn"}]
    assert len(hatched) == len(alarming) > 3


# --- what it says


def test_the_head_says_what_when_by_what_and_how_sure(page: Node, bundle: samples.Doc) -> None:
    head = page.all("header")[0].text
    for wanted in ("20 hosts, 54 records", "2026-11-20 06:30:00 UTC", "confidential.azure_skr 0.3.0", bundle["sha256"],
                   "All 54 records verified", "valid by audit@example.com"):  # fmt: skip
        assert wanted in head.replace("\u2713\u00a0", "")


def test_the_overview_counts_the_fleet(page: Node) -> None:
    tiles = [node.text for node in page.find("fleet").all("ul")[0].all("li")]
    assert tiles[0].startswith("19 / 20hosts reached") and tiles[1].startswith("13 / 20hosts hold their keys")
    verdicts = _data(page.all("figure")[0])
    assert verdicts == {
        "released": "13", "refused: policy_not_met": "3", "refused: permission_missing": "1", "failed: throttled": "1",
        "not reached": "1", "no record": "1",
    }  # fmt: skip
    assert _data(page.all("figure")[1])["debugging by the host possible"] == "1"
    assert _data(page.all("figure")[2])["Milan: boot loader 4, tee 0, snp 22, microcode 206 (older)"] == "1"
    assert _data(page.all("figure")[4])["0-29"] == "1"
    assert sum(map(int, _data(page.all("figure")[5]).values())) == 43


def _data(figure: Node) -> dict[str, str]:
    return {row.all("th")[0].text: row.all("td")[0].text for row in figure.all("tbody")[0].all("tr")}


def test_attention_names_what_an_auditor_must_not_miss(page: Node) -> None:
    told = [node.text for node in page.all("ul") if "attention" in node.classes][0]
    for wanted in ("9 security events", "held by 2 identities that are no VM of the inventory", "1 host whose memory",
                   "attested without secure boot", "not the newest enabled one", "within 30 days", "not reached"):  # fmt: skip
        assert wanted in told


def test_who_could_get_the_key(page: Node) -> None:
    keys = page.find("keys")
    ledger, tls = keys.all("article")
    assert "it can never be changed" in ledger.text and "can be changed by whoever" in tls.text
    assert "Azure calls it a compliant confidential VM" in tls.text and "Branch 2: attested by" in tls.text
    assert samples.JUSTIFIED in tls.text
    holders = next(table for table in tls.all("table") if "Who holds" in table.all("caption")[0].text)
    strangers = [row.text for row in holders.all("tr") if "stranger" in row.text]
    assert len(strangers) == 2 and samples.guid("contractor") in "".join(strangers)
    assert "its members are not in the bundle" in "".join(strangers)
    standing = next(table for table in tls.all("table") if "against permission" in table.all("caption")[0].text)
    rows = {
        row.all("th")[0].text[2:]: [cell.text for cell in row.all("td")] for row in standing.all("tbody")[0].all("tr")
    }
    assert rows["Has both: could get the key"][0] == "12"
    assert rows["Holds the permission; policy not met or not known"][1] == (
        "web-005, web-009 (policy: not known), web-016, web-019 (policy: not known)"
    )
    assert "web-007" in rows["Meets the policy; no permission"][1]
    versions = tls.all("table")[-1]
    states = [row.all("td")[0].text[2:] for row in versions.all("tbody")[0].all("tr")]
    assert states == ["enabled, newest", "enabled, older", "disabled"]
    assert [row.all("td")[-1].text for row in versions.all("tbody")[0].all("tr")] == ["10", "1", "0"]


def test_a_policy_that_admits_anybody_and_is_not_accepted_is_told_of(bundle: samples.Doc) -> None:
    keys = [{**key, "accepted_findings": {}} for key in bundle["keys"]]
    shown = read(report.html({**bundle, "keys": keys}, []))
    told = [node.text for node in shown.all("ul") if "attention" in node.classes][0]
    assert "Nobody accepted this." in told


def test_the_policy_is_evaluated_anew_over_the_claims(bundle: samples.Doc) -> None:
    """A policy that was narrowed since the releases is met by nobody any more, whatever the records say."""
    narrow: dict[str, Any] = {"version": "1.0.0", "anyOf": [{"authority": samples.AUTHORITY, "allOf": [
        {"claim": "x-ms-isolation-tee.x-ms-sevsnpvm-hostdata", "equals": "f" * 64}]}]}  # fmt: skip
    keys = [{**key, "release_policy": narrow} for key in bundle["keys"]]
    shown = read(report.html({**bundle, "keys": keys}, []))
    for article in shown.find("keys").all("article"):
        assert "Has both" not in article.text and "another" in article.text  # the digest told is of the old one


def test_refusals_come_with_claim_wanted_and_found_security_events_first(page: Node) -> None:
    events = [node for node in page.find("refused").all("div") if "event" in node.classes]
    assert [node.all("a")[0].text for node in events] == ["web-016", "web-005", "web-020", "web-007", "web-017"]
    assert ["security event" in node.text for node in events] == [True, True, True, False, False]
    row = next(row for row in events[1].all("tr") if "is-debuggable" in row.text)
    assert [cell.text for cell in row.all("td")][:2] == ["false", "true"]
    assert "The VM met the release policy." in events[3].text and "3 times" in events[0].text


def test_a_key_that_the_vault_gave_out_is_told_of_although_the_try_failed(bundle: samples.Doc) -> None:
    record = {**bundle["records"]["web-001"][-1], "outcome": "failed", "reason": "unwrap_failed"}
    shown = read(report.html({**bundle, "records": {"web-001": [record]}}, []))
    assert "given out by the vault, but not delivered" in shown.find("released").text


def test_host_pages_tell_identity_proof_releases_and_trace(page: Node) -> None:
    hosts = [node for node in page.find("pages").all("article") if "host" in node.classes]
    assert len(hosts) == 20
    machine = samples.machines(20)[4]
    shown = next(node for node in hosts if node.all("h3")[0].text.startswith("web-005"))
    for wanted in (machine.vm_id, machine.principal, "AMD SEV-SNP", "the host may debug this VM", "verified",
                   "Release policy, condition by condition", "Digest of the policy", "335 days left"):  # fmt: skip
        assert wanted in shown.text
    lost = next(node for node in hosts if node.all("h3")[0].text.startswith("web-009"))
    assert "Connection timed out" in lost.text and "not known" in lost.text


def test_it_says_what_it_does_not_prove(page: Node) -> None:
    told = page.find("proof").text
    assert "A copy of a key that was released once cannot be recalled." in told
    assert "Hosts that were not reached, and hosts without records, are unknown." in told


@pytest.mark.parametrize("form", ["rows", "result", "rows of the verifier"])
def test_what_does_not_verify_is_told_at_the_top_and_at_the_record(bundle: samples.Doc, form: str) -> None:
    rows = samples.findings(bundle, altered=2)
    given: Any = rows
    if form == "result":
        checks = {
            False: [{"state": "failed", "reason": "record_claims_differ", "message": rows[0]["message"]}],
            True: [],
        }
        records = [
            {"host": row["host"], "id": row["record_id"], "verdict": "verified" if row["ok"] else "failed",
             "checks": checks[row["ok"]]} for row in rows
        ]  # fmt: skip
        given = {"checks": [{"name": "signature", "state": "ok"}], "records": records}
    elif form == "rows of the verifier":
        given = [{"severity": "failed", "code": row["reason"], "host": row["host"], "record": row["record_id"],
                  "message": row["message"]} for row in rows if not row["ok"]]  # fmt: skip
    shown = read(report.html(bundle, given))
    assert "2 of 54 records do not verify. Do not rely on this bundle" in shown.all("header")[0].text
    assert shown.find("fleet").all("ul")[0].all("li")[2].text.startswith("52 / 54records verified")
    assert "2 records do not verify" in shown.find("fleet").text
    assert shown.find("host-3").text.count("different are secureboot") == 2


def test_a_bundle_that_nobody_verified_says_so(bundle: samples.Doc) -> None:
    assert "Nobody verified this bundle." in read(report.html(bundle)).all("header")[0].text


def test_a_broken_signature_is_told_although_the_records_hold(bundle: samples.Doc) -> None:
    told = {
        "host": None,
        "record_id": None,
        "ok": False,
        "reason": "bundle_signature",
        "message": "Another key signed.",
    }
    shown = read(report.html(bundle, [*samples.findings(bundle), told]))
    assert "Do not rely on this bundle" in shown.all("header")[0].text and "Another key signed." in shown.text


def test_a_bundle_that_nobody_vouches_for_is_verified_in_part(bundle: samples.Doc) -> None:
    """Every record holds, but neither a key nor a hash was given: who made the bundle is not proved."""
    records = [
        {"host": row["host"], "id": row["record_id"], "verdict": "verified", "checks": []}
        for row in samples.findings(bundle)
    ]
    check = {"name": "signature", "title": "bundle is signed by the key given", "state": "not checked", "gap": True,
             "message": "neither a public key nor a hash was given"}  # fmt: skip
    made = {name: value for name, value in bundle.items() if name != "signature"}
    head = read(report.html(made, {"checks": [check], "records": records})).all("header")[0].text
    assert "54 of 54 records verified. Not checked that the bundle is signed by the key given" in head
    assert "verified in part" in head and "Signature?\u00a0not checked" in head


# --- it loads nothing, and is the same every time


def test_nothing_in_it_loads_anything(page: Node, text: str) -> None:
    assert {node.tag for node in page.walk()} <= {
        "html", "head", "meta", "title", "style", "body", "a", "svg", "defs", "pattern", "line", "rect", "text", "desc",
        "header", "h1", "h2", "h3", "h4", "p", "dl", "div", "dt", "dd", "time", "bdi", "code", "span", "b", "small", "nav", "ul",
        "li", "main", "section", "figure", "figcaption", "details", "summary", "table", "caption", "thead", "tbody", "tr",
        "th", "td", "br", "article", "fieldset", "legend", "label", "input", "footer",
    }  # fmt: skip
    for node in page.walk():
        for name, value in node.attributes.items():
            assert name not in ("src", "srcset", "action", "style", "background", "poster", "data", "xlink:href")
            assert not name.startswith("on")
            assert "url(" not in (value or "") or value == "url(#hatch)"
    sheet = page.all("style")[0].text
    assert "url(" not in sheet and "@import" not in sheet and "@font-face" not in sheet and "http" not in sheet
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    policy = next(str(node.attributes["content"]) for node in page.all("meta") if "http-equiv" in node.attributes)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert text.isascii() or text.encode("utf-8")


def test_the_same_bundle_gives_the_same_bytes(bundle: samples.Doc, text: str) -> None:
    mixed = {**bundle, "records": dict(reversed(bundle["records"].items())), "vms": bundle["vms"][::-1],
             "access": bundle["access"][::-1], "keys": bundle["keys"][::-1]}  # fmt: skip
    mixed["records"] = {host: found[::-1] for host, found in mixed["records"].items()}
    assert report.html(mixed, samples.findings(bundle)) == text


# --- contrast


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21) and contrast("#777777", "#ffffff") == pytest.approx(
        4.48, abs=0.01
    )


@pytest.mark.parametrize("theme", palette.THEMES)
@pytest.mark.parametrize("pair", palette.PAIRS, ids=lambda pair: f"{pair[0]} on {pair[1]}")
def test_contrast(theme: str, pair: tuple[str, str, float]) -> None:
    colours = palette.THEMES[theme]
    assert contrast(colours[pair[0]], colours[pair[1]]) >= pair[2]


def test_every_colour_of_text_is_among_the_pairs(page: Node) -> None:
    sheet = page.all("style")[0].text
    texts = set(re.findall(r"[;{](?:color|fill):var\(--([\w-]+)\)", sheet))
    assert texts and texts <= {pair[0] for pair in palette.PAIRS}
    grounds = set(re.findall(r"background:var\(--([\w-]+)\)", sheet))
    assert grounds - {"line"} <= {pair[1] for pair in palette.PAIRS}  # line is that between two tiles
    assert set(palette.THEMES["light"]) == set(palette.THEMES["dark"])


# --- charts


@pytest.mark.parametrize(
    "most, wanted",
    [(1, [0, 1]), (4, [0, 1, 2, 3, 4]), (13, [0, 5, 10, 15]), (500, [0, 200, 400, 600]), (99, [0, 50, 100])],
)
def test_scales_are_round(most: int, wanted: list[int]) -> None:
    assert charts.scale(most) == wanted


@pytest.mark.parametrize("most", [1, 2, 3, 7, 19, 100, 101, 999, 12345])
def test_scales_reach_the_highest_bar_in_few_steps(most: int) -> None:
    ticks = charts.scale(most)
    assert ticks[0] == 0 and ticks[-1] >= most and len(ticks) <= 6


# --- size


def test_five_hundred_hosts() -> None:
    made = samples.bundle(500)
    text = report.html(made, samples.findings(made))
    shown = read(text)
    assert len(text) < 8_000_000
    index = next(table for table in shown.find("fleet").all("table") if "index" in table.classes)
    bodies = {min(body.classes): len(body.all("tr")) - 1 for body in index.all("tbody")}
    assert sum(bodies.values()) == 500 and list(bodies)[-1] == "ok"
    buttons = {str(node.attributes["id"]) for node in shown.all("input")}
    assert buttons == {"only-all", *(f"only-{kind}" for kind in bodies)}
    sheet = shown.all("style")[0].text
    assert all(f"#only-{kind}:checked) .index tbody:not(.{kind})" in sheet for kind in bodies)
