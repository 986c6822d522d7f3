# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML whose every text is escaped unless it is markup already, and never shows what is not there to be seen.

Names and claims come from machines that may be hostile. Characters that reorder, hide or break text are written out as
their code point, so that what a person reads is what the bundle holds.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from . import model

LONGEST = 4000
# Controls, format characters (zero width, direction, tags), separators, surrogates, private use, non-characters.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\uf8ff\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff]"
)
_VOID = frozenset({"meta", "br", "hr", "input", "col"})


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


Child = t.Union[str, None, t.Iterable[t.Any]]


def visible(value: str) -> str:
    """The text with odd characters as ``[U+202E]``, cut where it is longer than anything a person reads."""
    if len(value) > LONGEST:
        value = f"{value[:LONGEST]}... ({len(value)} characters)"
    return _ODD.sub(lambda found: f"[U+{ord(found.group()):04X}]", value)


def escape(value: str) -> str:
    value = visible(value)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        value = value.replace(character, entity)
    return value


def join(*children: Child) -> Markup:
    """Children one after another: text is escaped, markup kept, None nothing, anything iterable its members."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Markup("".join(parts))


def el(tag: str, *children: Child, **attributes: t.Union[str, int, bool, None]) -> Markup:
    """An element. ``class_`` is class, ``aria_label`` aria-label; True is an attribute without value, None none."""
    names = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        spelt = name.rstrip("_").replace("_", "-")
        names.append(f" {spelt}" if value is True else f' {spelt}="{escape(str(value))}"')
    if tag in _VOID:
        return Markup(f"<{tag}{''.join(names)}>")
    return Markup(f"<{tag}{''.join(names)}>{join(*children)}</{tag}>")


def bdi(value: str) -> Markup:
    """A name from outside within a sentence: its direction does not reach what stands around it."""
    return el("bdi", value)


def code(value: str) -> Markup:
    """Text of fixed width. Short words, such as reason codes and ids, are not broken into lines."""
    return el("code", value or "not known", dir="ltr", class_="k" if len(value) <= 36 else None)


def utc(value: t.Any) -> Markup:
    """A time of the bundle; all times of the report are UTC."""
    found = value if isinstance(value, datetime.datetime) else model.moment(value)
    if found is None:
        return Markup("not known")
    return el("time", found.strftime("%Y-%m-%d %H:%M:%S"), datetime=found.strftime("%Y-%m-%dT%H:%M:%SZ"))


class Column(t.NamedTuple):
    """``kind``: empty, ``n`` (a number, aligned right), ``w`` (not broken into lines)."""

    title: str
    kind: str = ""


class Table(t.NamedTuple):
    """Rows whose first cell names the row. ``groups`` are rows under a heading of their own, with a class."""

    caption: Child
    columns: t.Sequence[Column]
    rows: t.Sequence[t.Sequence[Child]] = ()
    classes: str = ""
    groups: t.Sequence[t.Tuple[Child, str, t.Sequence[t.Sequence[Child]]]] = ()
    hidden_caption: bool = False
    wide: bool = False  # may be scrolled sideways on a narrow screen, also by keyboard


def table(content: Table) -> Markup:
    head = el("thead", el("tr", [_head(column) for column in content.columns]))
    bodies = [el("tbody", _rows(content, content.rows))] if content.rows or not content.groups else []
    for title, classes, found in content.groups:
        label = el("tr", el("th", title, scope="rowgroup", colspan=len(content.columns)), class_="group")
        bodies.append(el("tbody", label, _rows(content, found), class_=classes))
    caption = el("caption", el("span", content.caption, class_="out") if content.hidden_caption else content.caption)
    made = el("table", caption, head, bodies, class_=content.classes or None)
    return el("div", made, class_="scroll", tabindex=0 if content.wide else None, role="group" if content.wide else None,
              aria_label="Table, can be scrolled" if content.wide else None)  # fmt: skip


def _head(column: Column) -> Markup:
    return el("th", column.title, scope="col", class_="n" if column.kind == "n" else None)


def _rows(content: Table, found: t.Sequence[t.Sequence[Child]]) -> t.List[Markup]:
    made = []
    for cells in found:
        line = []
        for number, (cell, column) in enumerate(zip(cells, content.columns)):
            if number == 0:
                line.append(el("th", cell, scope="row", class_=column.kind or None))
            else:
                line.append(el("td", cell, class_=column.kind or None))
        made.append(el("tr", line))
    return made


def facts(pairs: t.Iterable[t.Tuple[str, Child]], wide: t.Container[str] = ()) -> Markup:
    """A list of names and values, ``wide`` ones on a line of their own; values that are None or empty are left out."""
    made = [
        el("div", el("dt", name), el("dd", value), class_="wide" if name in wide else None)
        for name, value in pairs
        if value
    ]
    return el("dl", made, class_="facts")


def listing(items: t.Iterable[Child], classes: t.Optional[str] = None) -> Markup:
    return el("ul", [el("li", item) for item in items], class_=classes)


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


# Kinds of verdict: a word and a sign, so that colour is never alone.
SIGNS = {"ok": "\u2713", "bad": "\u2715", "warn": "!", "none": "?", "plain": "\u2013"}


def badge(kind: str, label: Child, long: bool = False) -> Markup:
    """``long`` ones may be broken into lines."""
    return el(
        "span",
        el("span", SIGNS.get(kind, "?"), aria_hidden="true"),
        "\u00a0",
        label,
        class_=f"badge {kind}{' long' if long else ''}",
    )
