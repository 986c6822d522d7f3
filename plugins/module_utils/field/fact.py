# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fact that only real Azure can confirm: what the lab assumes, and how an observation is judged by it.

An observation is the result of one of the collection's modules, as Ansible registers it. A judge takes observations and
gives a :class:`Seen`, or raises :class:`Unseen` with the reason why nothing can be said.
"""

from __future__ import annotations

import dataclasses
import typing as t

Observation = t.Mapping[str, t.Any]


class Unseen(Exception):
    """Nothing can be said of a fact; the message is why, without identifiers."""


class Seen(t.NamedTuple):
    """What was found, in words without identifiers, and whether the lab assumes the same."""

    found: str
    agrees: bool


@dataclasses.dataclass(frozen=True)
class Fact:
    """``scope`` says what ``judge`` is given: one VM's observations (``vm``), all of them (``fleet``), or the trial."""

    name: str
    topic: str
    assumes: str
    scope: str
    judge: t.Callable[[Observation], Seen]


FACTS: t.Dict[str, Fact] = {}
Judge = t.Callable[[Observation], Seen]


def fact(name: str, topic: str, assumes: str, scope: str = "vm") -> t.Callable[[Judge], Judge]:
    """Registers a judge; the order of registration is the order of the report."""

    def register(judge: Judge) -> Judge:
        if name in FACTS:
            raise ValueError(f"{name} is there twice")
        FACTS[name] = Fact(name, topic, assumes, scope, judge)
        return judge

    return register


def failed(result: Observation) -> bool:
    """Whether a module failed. Where a playbook goes on with ``failed_when: false`` only the message tells."""
    return bool(result.get("failed") or result.get("reason") or result.get("msg"))


def answer(observations: Observation, name: str) -> Observation:
    """The result ``name``. Raises Unseen where there is none, or where it failed (its reason code is told)."""
    result = observations.get(name)
    if not isinstance(result, t.Mapping):
        raise Unseen(f"{name} was not run")
    if result.get("unreachable"):
        raise Unseen("the VM was not reached")
    if failed(result):
        raise Unseen(f"{name} failed: {result.get('reason') or 'no reason code'}")
    if result.get("skipped"):
        raise Unseen(f"{name} was skipped")
    return result


def at(value: t.Any, *path: t.Any) -> t.Any:
    """The member at a path, or None."""
    for name in path:
        if not isinstance(value, t.Mapping):
            return None
        value = value.get(name)
    return value


def finding(observations: Observation, check: str) -> Observation:
    """The doctor's worst finding of a check. Raises Unseen where it is none or was skipped."""
    for one in answer(observations, "doctor").get("findings") or []:
        if one.get("check") == check:
            if one.get("severity") == "skipped":
                raise Unseen(f"the doctor could not make its check {check}")
            return t.cast(Observation, one)
    raise Unseen(f"the doctor made no check {check}")
