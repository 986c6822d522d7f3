# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the attributes that every module states."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: Running it again without a change of the options changes nothing.
"""

    AZURE = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/confidential.azure_skr.azure) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - confidential.azure_skr.azure
"""

    GUEST = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/confidential.azure_skr.guest) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - confidential.azure_skr.guest
"""
