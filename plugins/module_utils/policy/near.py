# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nearly matched: the same claim elsewhere in the token, another type, another case, a slash too many.

Hints, as they stand in traces: ``found_at:<path>``, ``inside_list:<path>``, ``missing``, ``type_differs``,
``case_differs``, ``slash_differs``, ``blank_differs``.
"""

from __future__ import annotations

import typing as t

from .authority import host as authority_host
from .compare import text_form
from .model import Value

MISSING = object()


def kind_of(value: t.Any) -> str:
    """The kind of a JSON value in a user's word."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    # isinstance, because playbooks hand over subclasses of these.
    kinds: t.Tuple[t.Tuple[type, str], ...] = ((str, "text"), (dict, "object"), (list, "list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


class Index:
    """A token's claims, looked up by path, and by last name once something is missing."""

    def __init__(self, claims: t.Mapping[str, t.Any]) -> None:
        self._claims = claims
        self._names: t.Optional[t.Dict[str, t.List[t.Tuple[str, t.Any, bool]]]] = None

    def lookup(self, path: str) -> t.Any:
        """The value at a dotted path, or MISSING. Neither dotted names nor list elements can be addressed."""
        here: t.Any = self._claims
        for part in path.split("."):
            if not isinstance(here, dict) or part not in here:
                return MISSING
            here = here[part]
        return here

    def near(self, path: str, fits: t.Callable[[t.Any], bool]) -> str:
        """Where a claim of the same name stands instead; a place that would satisfy the condition comes first."""
        if self._names is None:
            self._names = self._collect()
        places = [place for place in self._names.get(path.rpartition(".")[2].lower(), []) if place[0] != path]
        if not places:
            return "missing"
        found, _value, listed = min(places, key=lambda place: (place[2], not fits(place[1]), place[0].count(".")))
        return f"inside_list:{found}" if listed else f"found_at:{found}"

    def _collect(self) -> t.Dict[str, t.List[t.Tuple[str, t.Any, bool]]]:
        """Last name in lower case -> path, value, and whether the way leads through a list; outermost first."""
        names: t.Dict[str, t.List[t.Tuple[str, t.Any, bool]]] = {}
        level: t.List[t.Tuple[t.Any, str, bool]] = [(self._claims, "", False)]
        while level:
            deeper: t.List[t.Tuple[t.Any, str, bool]] = []
            for node, prefix, listed in level:
                if isinstance(node, list):
                    deeper += [(item, f"{prefix[:-1]}[{number}].", True) for number, item in enumerate(node)]
                elif isinstance(node, dict):
                    for name, item in node.items():
                        names.setdefault(str(name).lower(), []).append((f"{prefix}{name}", item, listed))
                        deeper.append((item, f"{prefix}{name}.", listed))
            level = deeper
        return names


def value(operator: str, wanted: Value, found: t.Any) -> t.Optional[str]:
    """Why a present claim nearly matched, or matched by its text form only (which nobody should rely on)."""
    if operator != "equals":
        return None
    if kind_of(wanted) != kind_of(found):
        return "type_differs"
    if not isinstance(wanted, str) or wanted == found:
        return None
    if wanted.lower() == found.lower():
        return "case_differs"
    if wanted.rstrip("/").lower() == found.rstrip("/").lower():
        return "slash_differs"
    return "blank_differs" if wanted.strip() == found.strip() else None


def authority(trusted: str, issuer: str, matches: bool) -> t.Optional[str]:
    """In words what an authority and the token's issuer nearly have in common; None when that is nothing."""
    if matches or not issuer:
        return None
    one, other = authority_host(trusted), authority_host(issuer)
    if not one or not other:
        return None
    if one == other:
        return f"the host is the same, but {trusted} differs in scheme, port or path"
    if one.partition(".")[0] == other.partition(".")[0]:
        return f"the provider's name is the same, but {one} and {other} differ in region or domain"
    return None


def finding(hint: t.Optional[str], wanted: Value) -> t.Optional[str]:
    """The lint's code for the mistake behind a hint."""
    if hint is None or hint == "missing":
        return None
    if hint.startswith(("found_at:", "inside_list:")):
        return "claim_at_wrong_level"
    if hint == "type_differs":
        return "boolean_as_text" if text_form(wanted) in ("true", "false") else "value_type"
    return "value_spelling"
