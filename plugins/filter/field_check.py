# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real subscription showed, held against what the lab assumes."""

from __future__ import annotations

DOCUMENTATION = r"""
name: field_check
short_description: Hold what a subscription shows against what the lab assumes
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Judges each fact that only real Azure can confirm by results of this collection's modules, as the playbook
    C(confidential.azure_skr.field_check) gathers them.
  - The report has neither secrets nor, unless asked for, identifiers of the subscription, so that it can be posted.
positional: identifiers
options:
  _input:
    description:
      - What was observed.
    type: dict
    required: true
    suboptions:
      hosts:
        description:
          - A dictionary for each VM with C(name), C(vm_name), the C(nonce) that was sent, and the registered results C(attestation), C(platform)
            (M(confidential.azure_skr.attestation_info)), C(report) (M(confidential.azure_skr.hardware_report_info)) and C(doctor)
            (M(confidential.azure_skr.guest_doctor)).
        type: list
        elements: dict
        required: true
      vms:
        description:
          - The registered result of M(confidential.azure_skr.cvm_info).
        type: dict
      provider:
        description:
          - The registered result of M(confidential.azure_skr.attestation_provider_info).
        type: dict
      trial:
        description:
          - The registered results of the trial with a throw-away key, by step. Empty where there was none.
        type: dict
      names:
        description:
          - Words that identify, such as the vault's name. They are taken out of the report.
        type: list
        elements: str
      version:
        description:
          - Version of the collection that made the observations. By default that of this plugin.
        type: str
  identifiers:
    description:
      - Whether names, ids and addresses stay in the report.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What differs from the lab
  ansible.builtin.debug:
    msg: "{{ ({'hosts': [{'name': inventory_hostname, 'attestation': attestation}]} | confidential.azure_skr.field_check).markdown }}"
"""

RETURN = r"""
_value:
  description:
    - C(schema), C(version), C(identifiers), C(hosts), C(writes) (whether there was a trial), C(counts) by state, C(markdown), and C(facts), each
      with C(fact), C(topic), C(assumed), C(state) (V(agrees), V(differs) or V(not_checked)), C(found), C(differing_hosts), C(observations) and
      C(why) it was not checked.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.field import report
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy import about


def field_check(observations: t.Any, identifiers: bool = False) -> t.Dict[str, t.Any]:
    """Observations -> report."""
    if not isinstance(observations, t.Mapping):
        raise AnsibleFilterError(
            f"field_check: the input is of type {type(observations).__name__}, wanted a dictionary"
        )
    try:
        return report.report({"version": about.VERSION, **observations}, identifiers)
    except ValueError as error:
        raise AnsibleFilterError(f"field_check: {error}") from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"field_check": field_check}
