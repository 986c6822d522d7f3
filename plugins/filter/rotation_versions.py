# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell the version of a key that a fleet moves to, and those before it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rotation_versions
short_description: Tell the version of a key that a fleet moves to, and those before it
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - From the result of module M(confidential.azure_skr.exportable_key). Fails when the version is disabled.
options:
  _input:
    description:
      - The registered result.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What would be disabled
  ansible.builtin.debug:
    msg: "{{ (result | confidential.azure_skr.rotation_versions).previous }}"
  vars:
    result:
      key_version: 0123456789abcdef0123456789abcdef
      key:
        enabled: true
      versions:
        - version: 0123456789abcdef0123456789abcdef
          enabled: true
        - version: fedcba9876543210fedcba9876543210
          enabled: true
"""

RETURN = r"""
_value:
  description:
    - C(version), C(kid) and C(public_key_sha256) of the version; C(previous), older versions that are enabled, and C(newer), younger ones,
      newest first both.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential.azure_skr.plugins.module_utils.fleet import rotation
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def rotation_versions(result: t.Any) -> t.Dict[str, t.Any]:
    """Result of exportable_key -> versions."""
    if not isinstance(result, t.Mapping) or not isinstance(result.get("key"), t.Mapping):
        raise AnsibleFilterError("rotation_versions: wanted the result of exportable_key for a key that exists")
    try:
        return rotation.versions(result)
    except SkrFailure as failure:
        raise AnsibleFilterError(failure.as_result()["msg"]) from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"rotation_versions": rotation_versions}
