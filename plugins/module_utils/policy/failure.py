# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception that guest, policy and controller code raise for anything a user must hear of."""

from __future__ import annotations

import typing as t


class SkrFailure(Exception):
    """A failure with everything a person needs to act on it.

    reason
        Stable code, a key of :data:`reasons.REASONS`.
    message
        One sentence: what happened, with the names and values found and wanted. Never a secret.
    facts
        Values for a program (JSON types): ids, host names, dates, claims. Never a secret.
    cause, next_step
        Plain words; by default those of the reason code.
    changed
        Whether something had been changed before it failed; whoever catches it on the way says so.
    """

    changed = False

    def __init__(
        self,
        reason: str,
        message: str,
        facts: t.Optional[t.Dict[str, t.Any]] = None,
        cause: t.Optional[str] = None,
        next_step: t.Optional[str] = None,
    ) -> None:
        super().__init__(message)
        # Here, because a success needs none of their texts, and over a fleet compiling them counts.
        from .reasons import REASONS

        known = REASONS[reason]
        self.reason = reason
        self.message = message
        self.facts: t.Dict[str, t.Any] = dict(facts or {})
        self.cause = cause or known.cause
        self.next_step = next_step or known.next_step

    def as_result(self) -> t.Dict[str, t.Any]:
        """The members that a failed module returns."""
        return {
            "reason": self.reason,
            "msg": f"{self.message} [{self.reason}] {self.next_step}",
            "cause": self.cause,
            "next_step": self.next_step,
            "facts": self.facts,
            "changed": self.changed,
        }


class SkrWarning(UserWarning):
    """Something a user should hear of although nothing failed; given to ``warnings.warn``, shown by the module."""
