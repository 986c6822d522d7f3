# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the documentation's examples: one page wrong in every way, and each wrong told at its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools import check_examples, check_links

WRONG = {
    "- name: x\n  confidential.azure_skr.key_release: {key_name: a, key_nme: a}": "key_nme",
    "- name: x\n  confidential.azure_skr.key_release: {key_name: a, deliver_to: floppy}": "'floppy'",
    "- name: x\n  confidential.azure_skr.key_release: {key_name: [a], ttl: soon}": "of type str, wanted int",
    "- name: x\n  confidential.azure_skr.key_release: {dest: /run/a}": "key_name is missing",
    "- name: x\n  confidential.azure_skr.key_releese: {}": "no module",
    "- name: x\n  ansible.builtin.fial: {msg: a}": "no module ansible.builtin.fial",
    "- name: x\n  ansible.builtin.include_role: {name: confidential.azure_skr.relase}": "no role",
    "- name: x\n  ansible.builtin.include_role: {name: confidential.azure_skr.key_release}\n  vars: {key_release_x: 1}": "key_release_x",
    "- name: x\n  ansible.builtin.debug: {msg: a}\n  wen: true": "wen",
    "- hosts: cvm\n  taks: []": "taks",
    "- import_playbook: confidential.azure_skr.sit": "no playbook sit",
    "- hosts: cvm\n  module_defaults:\n    group/confidential.azure_skr.azure: {tenan: x}": "tenan",
    "plugin: confidential.azure_skr.cvm\ninclude_groups: []": "include_groups",
    "a: b: c": "does not parse",
    "a: 1\na: 2": "stands twice",
    "skr_nonsense: 1": "skr_nonsense",
}
WORDS = {
    "ansible-playbook confidential.azure_skr.sit": "no playbook sit",
    "azure-skr doctr": "no command doctr",
    "azure-skr doctor --vault x": "--vault",
    "skrsim fault status --service maa status=503": "unrecognized arguments",
    "make tset": "no make target tset",
    "x | confidential.azure_skr.release_polic": "no filter",
    "ansible-doc -t inventory confidential.azure_skr.cwm": "no inventory",
    "ansible all -m confidential.azure_skr.cwm": "no module",
    "policy_not_mett": "policy_not_mett",
}
GOOD = """
- name: x
  confidential.azure_skr.key_release:
    vault_uri: "{{ uri }}"
    key_name: a
    ttl: "{{ ttl }}"
    deliver_to: keyring
  register: found
  when: found is defined
"""


@pytest.fixture(scope="module")
def known() -> check_examples.Known:
    return check_examples.Known()


def problems(known: check_examples.Known, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(check_examples, "ROOT", folder)
    page = folder / "page.md"
    page.write_text(text)
    check = check_examples.Check(known, page)
    check.page()
    return check.problems


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_example_is_told(
    known: check_examples.Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    found = problems(known, tmp_path, f"# A\n\n```yaml\n{text}\n```\n", monkeypatch)
    assert len(found) == 1 and WRONG[text] in found[0] and found[0].startswith("page.md:3: "), found


@pytest.mark.parametrize("text", WORDS)
def test_a_name_that_does_not_exist_is_told_in_code_and_in_prose(
    known: check_examples.Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    assert any(WORDS[text] in one for one in problems(known, tmp_path, f"See `{text}` here.\n", monkeypatch))
    if "_mett" not in text:
        assert any(WORDS[text] in one for one in problems(known, tmp_path, f"a\n\n    {text}\n", monkeypatch))


def test_what_is_right_is_not_complained_about(
    known: check_examples.Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(known, tmp_path, f"```yaml\n{GOOD}```\n`policy_not_met` `skr_dest`\n", monkeypatch) == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [("By message", "by-message"), ("`a_b` and [c](d.md)!", "a_b-and-c"), ("Where, and how?", "where-and-how")],
)
def test_anchors_are_those_of_the_web_site_that_shows_the_pages(heading: str, anchor: str) -> None:
    assert check_links.slug(heading) == anchor


def test_a_broken_site_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html">x</a><a href="#here">x</a><a href="c.html#no">x</a><img src="https://x.example/p.png">'
    )
    (tmp_path / "c.html").write_text('<p id="yes"></p><a href="a.html">x</a><a href="https://x.example">x</a>')
    assert sorted(check_links.site(tmp_path)) == [
        "a.html loads https://x.example/p.png", "a.html: no anchor #here", "a.html: no anchor c.html#no", "a.html: no file b.html",
    ]  # fmt: skip
    assert check_links.site(tmp_path / "nothing") != []
