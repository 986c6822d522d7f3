# SPDX-License-Identifier: GPL-3.0-or-later
"""The report over bundles that are damaged, incomplete or made to deceive: nothing breaks out, nothing raises."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unit.audit import samples
from unit.audit.pages import Node, read

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import report
from ansible_collections.confidential.azure_skr.plugins.module_utils.audit.report import markup, model
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure

SMALL = samples.bundle(6, 2)
PAYLOADS = (
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onmouseover='x", "</style><script>x</script>", "<!-- ",
    "]]>", "&lt;b&gt;", "</bdi></table></main>", "javascript:alert(1)", "\x00\x08\x1b[31m", "</title></svg><iframe>", "${7*7}{{x}}",
)  # fmt: skip
RIGHT_TO_LEFT = "web-\u202e100\u202c\u2066x\u2069\u200b\ufeff"
# What decides how something is shown, and so may not be changed where the shape of two reports is compared.
DECIDING = {
    "outcome", "reachable", "started", "attested", "answered", "ended", "created", "severity", "operator", "found_type", "via",
    "state", "schema", "release_policy", "claims", "time", "last_success", "principal_id", "vm", "id", "vm_id", "host", "key_name",
    "kid", "vault_uri", "hsm_uri", "scope", "version", "key_version", "principal_type", "code", "accepted_findings", "reason",
    "ak_cert_not_after", "tee", "product", "document", "sha256", "policy_sha256", "authority", "claim", "explained", "name",
}  # fmt: skip
BENIGN = "abcdefghijklmnopqrstuvwxyz0123456789"


def changed(value: Any, change: Callable[[str], str], keep: frozenset[str] = frozenset()) -> Any:
    """A copy with every text changed, names of members too unless something is to be kept."""
    if isinstance(value, dict):
        return {name: item if name in keep else changed(item, change, keep) for name, item in value.items()}
    if isinstance(value, list):
        return [changed(item, change, keep) for item in value]
    return change(value) if isinstance(value, str) else value


def tidy(shown: Node) -> None:
    """No element, attribute or link that the report does not make itself."""
    assert not shown.all(
        "script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject", "use", "image"
    )
    for node in shown.walk():
        assert not any(name.startswith("on") or name in ("src", "style") for name in node.attributes)
        assert node.tag != "a" or str(node.attributes["href"]).startswith("#")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_changes_no_element(payload: str) -> None:
    """With the same values that decide, a report over hostile texts has the elements of one over harmless texts."""
    keep = frozenset(DECIDING)
    harmless = BENIGN[: len(payload)] if len(payload) < len(BENIGN) else BENIGN
    hostile, usual = (changed(SMALL, lambda text, add=add: text + add, keep) for add in (payload, harmless))  # type: ignore[misc]
    shown, wanted = (read(report.html(one, samples.findings(SMALL))) for one in (hostile, usual))
    tidy(shown)
    assert shown.skeleton() == wanted.skeleton()


@pytest.mark.parametrize("payload", [*PAYLOADS, RIGHT_TO_LEFT])
def test_hostile_text_everywhere(payload: str) -> None:
    made = changed(SMALL, lambda text: text + payload)
    made["records"] = {host + payload: found for host, found in made["records"].items()}
    made["metrics"] = {f"{payload}{host}": found for host, found in made["metrics"].items()}
    for record in (record for found in made["records"].values() for record in found):
        record["attestation"]["claims"][payload] = payload
    text = report.html(made, changed(samples.findings(SMALL), lambda text: text + payload))
    text.encode("utf-8")
    tidy(read(text))


def test_marks_that_reorder_or_hide_text_are_written_out() -> None:
    made = copy.deepcopy(SMALL)
    made["hosts"].append({"host": RIGHT_TO_LEFT, "reachable": False, "reason": "\u0627\u0644\u0639"})
    text = report.html(made, [])
    assert not any(mark in text for mark in "\u202e\u202c\u2066\u2069\u200b\ufeff")
    shown = read(text)
    named = [node for node in shown.all("a") if "[U+202E]100[U+202C]" in node.text]
    assert named and all(isinstance(node.children[0], Node) and node.children[0].tag == "bdi" for node in named)
    assert "\u0627\u0644\u0639" in shown.find("lost").text  # letters of a right-to-left script are text like any other


@example("&lt;b&gt; &amp;amp; &#39;")
@example("<b title='x'>\"")
@settings(max_examples=300)
@given(
    st.text(
        alphabet=st.characters(exclude_categories=()) | st.characters(categories=["Cc", "Cf", "Cs", "Co"]), max_size=60
    )
)
def test_escaped_text_is_read_back_as_the_visible_text(text: str) -> None:
    shown = read(f"<!DOCTYPE html>\n{markup.el('p', text, title=text)}")
    wanted = markup.visible(text)
    assert shown.text == wanted and shown.attributes["title"] == wanted
    wanted.encode("utf-8")
    assert not any(
        unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for one in wanted if one not in "\n\t"
    )


def test_very_long_text_is_cut() -> None:
    assert len(markup.visible("x" * 10**6)) < 5000 and "(1000000 characters)" in markup.visible("x" * 10**6)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, item in items for place in places(item, (*path, name)))] if path else [
        place for name, item in items for place in places(item, (name,))
    ]  # fmt: skip


PLACES = places(SMALL)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values, st.booleans()), min_size=1, max_size=8))
def test_anything_may_be_missing_or_of_another_shape(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> None:
    made = copy.deepcopy(SMALL)
    for path, value, remove in changes:
        *parents, last = path
        here: Any = made
        try:
            for name in parents:
                here = here[name]
            if remove:
                del here[last]
            else:
                here[last] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    text = report.html(made, samples.findings(SMALL))
    text.encode("utf-8")
    tidy(read(text))


@settings(max_examples=60, deadline=None)
@given(json_values, json_values)
def test_not_even_a_bundle(bundle: Any, findings: Any) -> None:
    tidy(read(report.html(bundle, findings)))


@pytest.mark.parametrize("member", [*SMALL])
def test_a_missing_member_is_not_known(member: str) -> None:
    without = {name: value for name, value in SMALL.items() if name != member}
    shown = read(report.html(without, samples.findings(SMALL)))
    tidy(shown)
    wanted = {
        "manifest": "Bundle madenot known",
        "sha256": "of the archive: not known here",
        "signature": "not known here",
    }
    assert wanted.get(member, "Verification") in shown.all("header")[0].text


def test_an_empty_bundle_is_a_report_of_nothing() -> None:
    shown = read(report.html({}, []))
    assert "0 hosts, 0 records" in shown.text and "The bundle names no host." in shown.text
    assert "Nothing in this bundle asks for attention." in shown.text


class Broken:
    """A bundle as it is read from an archive, with a record that is none: no record can be read through it."""

    def __init__(self) -> None:
        self.hosts = [{"host": "web/1", "folder": "web-1-ab12", "reachable": True}]
        self.files = {
            "records/web-1-ab12/20261120T000000Z-aaaaaa.json": b'{"id": "20261120T000000Z-aaaaaa", "outcome": "released"}',
            "records/web-1-ab12/20261120T000001Z-bbbbbb.json": b"\xff{",
            "control/keys.json": b"[]",
        }

    @property
    def records(self) -> Any:
        raise SkrFailure("policy_invalid", "a record is none")


def test_one_damaged_record_does_not_hide_the_others() -> None:
    told = {
        "host": "web-1-ab12",
        "record_id": "20261120T000000Z-aaaaaa",
        "ok": True,
        "reason": "verified",
        "message": "",
    }
    view = model.view(Broken(), [told])
    assert list(view.records) == ["web/1"] and len(view.records["web/1"]) == 1
    assert view.records["web/1"][0].checked is True
    assert "web/1" in read(report.html(Broken(), [told])).find("pages").text
