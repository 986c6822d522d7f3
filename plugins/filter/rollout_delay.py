# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell when a host of a fleet begins its release."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_delay
short_description: Tell when a host of a fleet begins its release
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Spreads the hosts of a batch over the time in which a vault can answer them all, so that a fleet does not run into the vault's limits.
  - The moment follows from the host's place in the batch and its name, and is the same in every run.
positional: batch
options:
  _input:
    description:
      - Name of the host.
    type: str
    required: true
  batch:
    description:
      - Names of all hosts of the batch, in the order in which they have their turn.
    type: list
    elements: str
    required: true
  key_type:
    description:
      - Kind of key, such as V(RSA-HSM).
    type: str
    default: RSA-HSM
  key_size:
    description:
      - Size of an RSA key in bits; 3072 by default, as the service makes it.
    type: int
  share:
    description:
      - Share of the vault's documented requests in ten seconds that the fleet may use, from 0 to 1. V(0) means no budget.
    type: float
    default: 0.5
  limit:
    description:
      - Requests that the vault answers in ten seconds, where it is not what Azure documents for the kind of key.
    type: int
  slices:
    description:
      - Number of slices of the same job that run at the same time.
    type: int
    default: 1
  elapsed:
    description:
      - Seconds since the batch began. They count as waited.
    type: float
    default: 0
"""

EXAMPLES = r"""
- name: Moments of two hosts
  ansible.builtin.debug:
    msg: "{{ ['web-1', 'web-2'] | map('confidential.azure_skr.rollout_delay', ['web-1', 'web-2'], key_size=4096) | list }}"
"""

RETURN = r"""
_value:
  description:
    - Seconds from now.
  type: float
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import budget
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rollout_delay(
    host: str,
    batch: t.Sequence[str],
    key_type: str = "RSA-HSM",
    key_size: t.Any = None,
    share: t.Any = 0.5,
    limit: t.Any = None,
    slices: t.Any = 1,
    elapsed: t.Any = 0,
) -> float:
    """Host and its batch -> seconds from now."""
    try:
        allowed = budget.allowed(key_type, key_size, share, limit)
        begins = budget.delay(str(host), [str(name) for name in batch], allowed, budget.slices(slices))
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None
    return round(max(0.0, begins - float(elapsed)), 3)


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rollout_delay": rollout_delay}
