# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examination's result for a person: one line for each finding, worst first, with what to do."""

from __future__ import annotations

import textwrap
import typing as t

from . import findings

_WORDS = {"failed": "FAILED", "warning": "WARNING", "info": "note", "ok": "ok", "skipped": "skipped"}
_COLOURS = {"failed": "\033[31m", "warning": "\033[33m", "ok": "\033[32m"}
_OFF = "\033[0m"


def text(result: t.Mapping[str, t.Any], colours: bool = False, width: int = 110) -> str:
    """A table of plain words: severity, check, what was found; below it the code, what is wanted and the next step."""
    rows = result["findings"]
    first = max(len(word) for word in _WORDS.values())
    second = max(len(check.title) for check in findings.CHECKS.values())
    indent = " " * (first + second + 4)
    lines = [summary(result), ""]
    for row in rows:
        severity = row["severity"]
        mark = _WORDS[severity].ljust(first)
        if colours and severity in _COLOURS:
            mark = f"{_COLOURS[severity]}{mark}{_OFF}"
        wrapped = _wrapped(row["found"], width - len(indent))
        lines.append(f"{mark}  {row['title'].ljust(second)}  {wrapped[0]}")
        lines += [f"{indent}{line}" for line in wrapped[1:]]
        if severity in ("failed", "warning"):
            told = _wrapped(f"[{row['code']}] wanted: {row['wanted']}", width - len(indent))
            lines += [f"{indent}{line}" for line in told]
        if row["next_step"]:
            lines += [f"{indent}{line}" for line in _wrapped(f"next: {row['next_step']}", width - len(indent))]
    return "\n".join(lines)


def summary(result: t.Mapping[str, t.Any]) -> str:
    """How many findings there are of each severity, in a line."""
    numbers = result["counts"]
    names = {"failed": "failed", "warning": "warning", "info": "note", "ok": "ok", "skipped": "skipped"}
    plural = {name: "s" if name in ("warning", "info") and numbers[name] != 1 else "" for name in names}
    return ", ".join(f"{numbers[name]} {names[name]}{plural[name]}" for name in findings.SEVERITIES)


def _wrapped(words: str, width: int) -> t.List[str]:
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False) or [""]
