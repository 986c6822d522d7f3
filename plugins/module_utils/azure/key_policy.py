# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The review of a release policy before it is uploaded: lint, findings accepted by name, and immutability."""

from __future__ import annotations

import dataclasses
import typing as t

from ..policy import lint as rules
from ..policy import model
from ..policy.failure import SkrFailure


@dataclasses.dataclass(frozen=True)
class Lint:
    """``fail_on`` is error, warning, info or never; ``accepted`` maps a finding's code to its justification."""

    fail_on: str = "error"
    accepted: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Reviewed:
    """A finding and why it is accepted, if it is."""

    finding: rules.Finding
    justification: t.Optional[str]

    def as_dict(self) -> t.Dict[str, t.Any]:
        return {
            **self.finding.as_dict(),
            "accepted": self.justification is not None,
            "justification": self.justification,
        }


def review(
    policy: t.Optional[model.Policy], immutable: t.Optional[bool], confirmed: bool, options: Lint
) -> t.List[Reviewed]:
    """Refuse what should not be uploaded; returns the findings that are left.

    Raises SkrFailure: ``immutable_without_confirmation``, ``policy_lint``, ``invalid_input``.
    """
    accepted = _accepted(options.accepted)
    if immutable and not confirmed:
        raise SkrFailure(
            "immutable_without_confirmation",
            "immutable is true, but confirm_immutable is not; an immutable policy can never be changed again.",
            {"option": "confirm_immutable"},
        )
    if policy is None:
        return []
    found = [Reviewed(one, accepted.get(one.code)) for one in rules.lint(policy)]
    count = 0 if options.fail_on == "never" else rules.SEVERITIES.index(options.fail_on) + 1
    grave = [one for one in found if one.justification is None and one.finding.severity in rules.SEVERITIES[:count]]
    if grave:
        told = "; ".join(f"{one.finding.code} at {one.finding.path}: {one.finding.message}" for one in grave)
        raise SkrFailure(
            "policy_lint",
            f"release_policy has findings that are not accepted: {told}",
            {"findings": [one.as_dict() for one in found], "option": "release_policy"},
        )
    return found


def _accepted(given: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    for code, justification in given.items():
        if code not in rules.CODES or code == "immutable_without_confirmation":
            raise SkrFailure(
                "invalid_input",
                f"accepted_findings has {code!r}, wanted a finding's code such as satisfied_by_any_tenant.",
                {"option": "accepted_findings", "known": sorted(rules.CODES)},
            )
        if not isinstance(justification, str) or len(justification.split()) < 3:
            raise SkrFailure(
                "invalid_input",
                f"accepted_findings.{code} is {justification!r}, wanted a justification of at least three words.",
                {"option": "accepted_findings"},
            )
    return dict(given)


def told(
    findings: t.Sequence[Reviewed], immutable: t.Optional[bool]
) -> t.Tuple[t.List[t.Dict[str, t.Any]], t.List[str]]:
    """The findings for the result, and the warnings a user must see."""
    warnings = [
        f"release_policy: {one.finding.code} at {one.finding.path}: {one.finding.message}"
        for one in findings
        if one.justification is None and one.finding.severity != "info"
    ]
    if immutable:
        warnings.append("The release policy is immutable: nobody, not even Microsoft, can ever change it for this key.")
    return [one.as_dict() for one in findings], warnings
