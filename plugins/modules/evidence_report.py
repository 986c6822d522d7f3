#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_report
short_description: Make a readable report of a bundle of evidence
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Verifies a bundle as M(confidential.azure_skr.evidence_verify) does and writes a report of it, one HTML file that loads nothing from anywhere.
  - A bundle that is rejected as a whole gets no report; records that do not hold are marked in it.
extends_documentation_fragment:
  - confidential.azure_skr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  bundle:
    description:
      - The bundle. The signature is read from C(BUNDLE.sig).
    type: path
    required: true
  public_key:
    description:
      - Public key or certificate of whoever signed the bundle; a PEM file, or its text.
    type: str
  sha256:
    description:
      - A hash list in the form of sha256sum. Without it and O(public_key) the list beside the bundle is used, which proves that the bundle is whole, not
        who made it.
    type: path
  jwks:
    description:
      - Files with the signing keys (JWKS) of the attestation authority, as you got them yourself, or C(AUTHORITY=FILE) where the bundle has tokens of several.
        By default the keys in the bundle are used.
    type: list
    elements: str
    default: []
  dest:
    description:
      - The report. It is replaced atomically and readable by its owner alone.
    type: path
    required: true
seealso:
  - module: confidential.azure_skr.evidence_bundle
  - module: confidential.azure_skr.evidence_verify
"""

EXAMPLES = r"""
- name: Report
  confidential.azure_skr.evidence_report:
    bundle: /srv/audit/2026-11.tar.gz
    public_key: /etc/audit/signing.pub.pem
    dest: /srv/audit/2026-11.html
"""

RETURN = r"""
dest:
  description: The report.
  type: str
  returned: success
verdict:
  description: V(verified), V(incomplete) or V(failed).
  type: str
  returned: success
summary:
  description: The verdict in plain words.
  type: str
  returned: success
reason:
  description: Stable code of the failure.
  type: str
  returned: failure
cause:
  description: What the reason means.
  type: str
  returned: failure
next_step:
  description: What to do.
  type: str
  returned: failure
facts:
  description: Values behind the failure.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path", "required": True},
            "public_key": {"type": "str", "no_log": False},
            "sha256": {"type": "path"},
            "jwks": {"type": "list", "elements": "str", "default": []},
            "dest": {"type": "path", "required": True},
        },
        mutually_exclusive=[["public_key", "sha256"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries((arguments.CRYPTOGRAPHY,))
        from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import files, report

        found = files.check(*(options[name] for name in ("bundle", "public_key", "sha256", "jwks")))
        changed = files.publish(options["dest"], report.html(found.accepted(), found), module.check_mode)
        return {"changed": changed, "dest": options["dest"], "verdict": found.verdict, "summary": found.summary()}

    skin.run(module, run)


if __name__ == "__main__":
    main()
