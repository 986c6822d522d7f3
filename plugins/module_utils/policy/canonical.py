# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which this collection writes a release policy.

``version`` stands first and ``authority`` before its conditions, there are no line ends, rules and conditions stand in
one order, each once, and the authority has no trailing slash: managed HSM's parser insists on the first two, tokens'
issuers have no slash, and one order makes equal policies equal texts.
"""

from __future__ import annotations

import json
import typing as t

from .authority import key as authority_key
from .authority import without_slash
from .compare import simplified, text_form
from .model import Claim, Group, Policy

_Document = t.Dict[str, t.Any]


def as_dict(policy: Policy) -> _Document:
    """The policy as a dictionary in canonical order, duplicates of a rule or condition left out."""
    rules = [{"authority": without_slash(rule.authority), **_group(rule.conditions)} for rule in policy.rules]
    return {"version": policy.version, "anyOf": _ordered(rules)}


def dump(policy: Policy) -> str:
    """The policy as compact JSON text."""
    return _text(as_dict(policy))


def digest(policy: Policy) -> str:
    """SHA-256, in hex, of what the policy means: the same for a policy and for what a vault gives back of it."""
    import hashlib  # takes a while to load, and who only compares does not need it

    rules = [[authority_key(rule.authority), _plain(simplified(rule.conditions))] for rule in policy.rules]
    return hashlib.sha256(_text(_sorted(rules)).encode("ascii")).hexdigest()


def _group(group: Group) -> _Document:
    members = [
        {"claim": member.path, member.operator: member.value} if isinstance(member, Claim) else _group(member)
        for member in group.members
    ]
    return {group.kind: _ordered(members)}


def _plain(node: t.Union[Claim, Group]) -> t.List[t.Any]:
    if isinstance(node, Claim):
        number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        value = float(node.value) if number and abs(t.cast(float, node.value)) < 2**53 else text_form(node.value)
        return [node.path, node.operator, ["number", value] if number else value]
    return [node.kind, _sorted([_plain(member) for member in node.members])]


def _ordered(documents: t.List[_Document]) -> t.List[_Document]:
    """Claims before groups, each kind in the order of its text, duplicates once. True and 1 are different here."""
    found = {_text(document): document for document in documents}
    return [found[text] for text in sorted(found, key=lambda text: (not text.startswith(('{"claim"', '{"auth')), text))]


def _sorted(items: t.List[t.Any]) -> t.List[t.Any]:
    found = {_text(item): item for item in items}
    return [found[text] for text in sorted(found)]


def _text(document: t.Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True)
