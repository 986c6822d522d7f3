# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that manage a vault or managed HSM."""

from __future__ import annotations


class ModuleDocFragment:
    """Who may reach a vault or managed HSM."""

    DOCUMENTATION = r"""
options:
  public_network_access:
    description:
      - Whether the vault or HSM can be reached other than by private endpoints.
    type: str
    choices: [enabled, disabled]
  network_acls:
    description:
      - The firewall. Members that are not given stay as they are.
    type: dict
    suboptions:
      default_action:
        description:
          - What happens to addresses that no rule names.
        type: str
        choices: [allow, deny]
      bypass:
        description:
          - Whether trusted Azure services get past the firewall.
        type: str
        choices: [azure_services, none]
      ip_rules:
        description:
          - Public IPv4 addresses or networks that are allowed. They replace the ones there are.
        type: list
        elements: str
      subnet_ids:
        description:
          - Resource ids of subnets that are allowed. They replace the ones there are.
        type: list
        elements: str
  accept_weakening:
    description:
      - Allow this run to switch the firewall or the ban on public access off.
    type: bool
    default: false
"""
