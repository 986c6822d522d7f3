# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Charts as inline SVG, made of numbers: horizontal bars and columns, each with title, axes and its data as a table.

Every bar carries its number and its name; bars of what is not as it should be are hatched, so that colour says nothing
that is not said otherwise.
"""

from __future__ import annotations

import math
import typing as t

from . import markup
from .markup import Column, Markup, el

WIDTH = 440
_ROW, _BAR, _LEFT, _RIGHT = 38, 13, 2, 44
_HEIGHT, _FLOOR, _TOP = 150, 176, 26
_HATCHED = ("bad", "warn")


class Bar(t.NamedTuple):
    """``kind`` is ok, bad, warn, none or plain; ``detail`` stands only in the table."""

    label: str
    value: int
    kind: str = "plain"
    detail: str = ""


class Chart(t.NamedTuple):
    """What is drawn: ``ident`` makes ids unique, ``unit`` names the axis of values, ``by`` that of the bars."""

    ident: str
    title: str
    note: str
    by: str
    unit: str
    bars: t.Sequence[Bar]


def patterns() -> Markup:
    """The hatching that all charts refer to, once for the page."""
    stripe = el("line", x1=0, y1=0, x2=0, y2=7, class_="hatch")
    size: t.Dict[str, t.Union[str, int]] = {
        "width": 7,
        "height": 7,
        "patternUnits": "userSpaceOnUse",
        "patternTransform": "rotate(45)",
    }
    found = el("pattern", stripe, id="hatch", **size)
    return el("svg", el("defs", found), class_="defs", aria_hidden="true", focusable="false")


def bars(chart: Chart) -> Markup:
    """Horizontal bars: the name above its bar, the number at its end."""
    if not any(one.value for one in chart.bars):
        return _figure(chart, el("p", "The bundle holds nothing that could be counted here.", class_="soft"))
    ticks = scale(max(one.value for one in chart.bars))
    span = WIDTH - _LEFT - _RIGHT
    height = _ROW * len(chart.bars) + 6
    drawn: t.List[Markup] = []
    for tick in ticks:
        x = _x(_LEFT + span * tick / ticks[-1])
        drawn.append(el("line", x1=x, x2=x, y1=4, y2=height, class_="grid" if tick else "base"))
        drawn.append(
            el("text", str(tick), x=x, y=height + 15, text_anchor="middle" if tick else "start", class_="axis")
        )
    for place, one in enumerate(chart.bars):
        y = place * _ROW + 16
        length = span * one.value / ticks[-1]
        drawn.append(el("text", short(one.label, 62), x=_LEFT + 4, y=y))
        drawn += _rectangle(_LEFT, y + 5, max(length, 1.5 if one.value else 0), _BAR, one.kind)
        drawn.append(el("text", str(one.value), x=_x(_LEFT + length + 6), y=y + 5 + _BAR - 2))
    drawn.append(el("text", chart.unit, x=_LEFT, y=height + 32, class_="axis"))
    return _figure(chart, _svg(chart, height + 38, drawn))


def columns(chart: Chart, marks: t.Sequence[t.Tuple[float, str]] = ()) -> Markup:
    """Columns side by side; ``marks`` are lines across at a place (in columns from the left) with what they mean."""
    if not any(one.value for one in chart.bars):
        return _figure(chart, el("p", "The bundle holds nothing that could be counted here.", class_="soft"))
    ticks = scale(max(one.value for one in chart.bars))
    left = 14 + 8 * len(str(ticks[-1]))
    step = (WIDTH - left - 6) / len(chart.bars)
    drawn: t.List[Markup] = [el("text", chart.unit, x=0, y=12, class_="axis")]
    for tick in ticks:
        y = _x(_FLOOR - _HEIGHT * tick / ticks[-1])
        drawn.append(el("line", x1=left, x2=WIDTH, y1=y, y2=y, class_="grid" if tick else "base"))
        drawn.append(el("text", str(tick), x=left - 6, y=_x(float(y) + 4), text_anchor="end", class_="axis"))
    for place, one in enumerate(chart.bars):
        x, tall = left + place * step, _HEIGHT * one.value / ticks[-1]
        drawn += _rectangle(x + step * 0.1, _FLOOR - tall, step * 0.8, tall, one.kind)
        middle = _x(x + step / 2)
        drawn.append(el("text", one.label, x=middle, y=_FLOOR + 16, text_anchor="middle", class_="axis"))
        if one.value:
            drawn.append(el("text", str(one.value), x=middle, y=_x(_FLOOR - tall - 4), text_anchor="middle"))
    for place_, meaning in marks:
        at = left + place_ * step
        drawn.append(el("line", x1=_x(at), x2=_x(at), y1=_TOP - 6, y2=_FLOOR, class_="mark"))
        drawn.append(el("text", meaning, x=_x(at), y=_TOP - 12, text_anchor="middle"))
    drawn.append(el("text", chart.by, x=_x((left + WIDTH) / 2), y=_FLOOR + 35, text_anchor="middle", class_="axis"))
    return _figure(chart, _svg(chart, _FLOOR + 42, drawn))


def scale(most: int) -> t.List[int]:
    """Round values from 0 to at least ``most``, at most six, at the same distance."""
    rough = max(1.0, most / 4)
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * factor) for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * number for number in range(-(-most // step) + 1)]


def short(label: str, most: int) -> str:
    shown = markup.visible(label)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> t.List[Markup]:
    size = {"x": _x(x), "y": _x(y), "width": _x(width), "height": _x(height)}
    made = [el("rect", class_=kind, **size)]
    return made + [el("rect", fill="url(#hatch)", **size)] if kind in _HATCHED else made


def _svg(chart: Chart, height: int, drawn: t.Sequence[Markup]) -> Markup:
    told = "; ".join(f"{markup.visible(one.label)}: {one.value}" for one in chart.bars)
    names = f"{chart.ident}-t {chart.ident}-d"
    title, told_ = el("title", chart.title, id=f"{chart.ident}-t"), el("desc", told, id=f"{chart.ident}-d")
    return el("svg", title, told_, drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_labelledby=names)


def _figure(chart: Chart, drawing: Markup) -> Markup:
    heading = [Column(chart.by), Column(chart.unit, "n")]
    detailed = any(one.detail for one in chart.bars)
    if detailed:
        heading.append(Column("What that is"))
    found = [[one.label, str(one.value), *([one.detail] if detailed else [])] for one in chart.bars]
    data = markup.table(markup.Table(f"{chart.title}: data", heading, found, "narrow", hidden_caption=True))
    note = el("small", chart.note, class_="soft") if chart.note else None
    shown = el("details", el("summary", "Data as a table", el("span", f": {chart.title}", class_="out")), data)
    return el("figure", el("figcaption", chart.title, note), drawing, shown if chart.bars else None)


def _x(value: float) -> str:
    """A coordinate, short and the same on every machine."""
    return f"{value:.1f}".rstrip("0").rstrip(".") or "0"
