# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a resource function returns: a plan that can be shown before it is applied."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Plan:
    """The pure difference between wanted and found. ``before`` and ``after`` are what ``--diff`` shows.

    ``body`` is what will be sent; None when nothing is.
    """

    action: str  # "none", "create", "update" ...
    before: t.Dict[str, t.Any]
    after: t.Dict[str, t.Any]
    body: t.Optional[t.Dict[str, t.Any]] = None

    @property
    def changed(self) -> bool:
        return self.action != "none"

    def result(self) -> t.Dict[str, t.Any]:
        """``changed`` and, where something changes, ``diff``."""
        found: t.Dict[str, t.Any] = {"changed": self.changed}
        if self.changed:
            found["diff"] = {"before": self.before, "after": self.after}
        return found


def text_tags(tags: t.Optional[t.Mapping[str, t.Any]]) -> t.Optional[t.Dict[str, str]]:
    """Tags are texts in the service; YAML's numbers and booleans would differ from them on every run."""
    if tags is None:
        return None
    return {str(name): "" if value is None else str(value) for name, value in tags.items()}


def same_location(one: str, other: str) -> bool:
    """Azure regions compare without blanks and case: "West Europe" is westeurope."""
    return one.replace(" ", "").lower() == other.replace(" ", "").lower()
