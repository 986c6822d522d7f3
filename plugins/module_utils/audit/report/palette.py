# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of the report in both themes, and which stands on which: the tests compute the contrast of every pair."""

from __future__ import annotations

import typing as t

THEMES: t.Dict[str, t.Dict[str, str]] = {
    "light": {
        "page": "#ffffff", "panel": "#f5f6f8", "line": "#d3d8de", "grid": "#dfe3e8",
        "ink": "#1a1f26", "soft": "#535c67", "link": "#0b5394",
        "ok": "#14602f", "ok-page": "#e4f2e8", "ok-bar": "#3a8457",
        "bad": "#94181b", "bad-page": "#fbe8e7", "bad-bar": "#b8322f",
        "warn": "#734600", "warn-page": "#fbf0d8", "warn-bar": "#a86a00",
        "none": "#474f59", "none-page": "#eaedf0", "none-bar": "#7b848e",
        "plain-bar": "#3f6d9b", "focus": "#0b5394",
    },
    "dark": {
        "page": "#15181c", "panel": "#1d2126", "line": "#3a4149", "grid": "#2e343b",
        "ink": "#e7e9ec", "soft": "#a7b0ba", "link": "#8fbef0",
        "ok": "#93d8ab", "ok-page": "#173022", "ok-bar": "#4da372",
        "bad": "#f6aca7", "bad-page": "#3c1b1b", "bad-bar": "#dd635c",
        "warn": "#efc983", "warn-page": "#36290c", "warn-bar": "#cc9636",
        "none": "#bcc4cd", "none-page": "#2a3037", "none-bar": "#8a939d",
        "plain-bar": "#6d9ecd", "focus": "#8fbef0",
    },
}  # fmt: skip

TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2, success criteria 1.4.3 and 1.4.11, level AA

# Foreground, background, least contrast.
PAIRS: t.Tuple[t.Tuple[str, str, float], ...] = (
    *((ink, ground, TEXT) for ink in ("ink", "soft", "link") for ground in ("page", "panel")),
    *((kind, f"{kind}-page", TEXT) for kind in ("ok", "bad", "warn", "none")),
    *((kind, ground, TEXT) for kind in ("ok", "bad", "warn", "none") for ground in ("page", "panel")),
    *(("ink", f"{kind}-page", TEXT) for kind in ("ok", "bad", "warn", "none")),
    *(("link", f"{kind}-page", TEXT) for kind in ("ok", "bad", "warn", "none")),
    *((f"{kind}-bar", ground, GRAPHIC) for kind in ("ok", "bad", "warn", "none", "plain") for ground in ("page", "panel")),
    ("focus", "page", GRAPHIC),
    ("focus", "panel", GRAPHIC),
)  # fmt: skip


def variables(theme: str) -> str:
    """The colours of a theme as custom properties of CSS."""
    return "".join(f"--{name}:{colour};" for name, colour in THEMES[theme].items())
