#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_verify
short_description: Verify a bundle of evidence off line
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Checks the bundle's signature or hash, its files, and of every record the attestation token's signature, the claims, the policy and its decision
    condition by condition, and the key. It is what C(azure-skr verify-evidence) does. Runs where the bundle is, without any network.
  - What fails does not fail the task; look at RV(verified).
extends_documentation_fragment:
  - confidential.azure_skr.attributes
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    support: N/A
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
seealso:
  - module: confidential.azure_skr.evidence_bundle
  - module: confidential.azure_skr.evidence_report
"""

EXAMPLES = r"""
- name: Verify
  confidential.azure_skr.evidence_verify:
    bundle: /srv/audit/2026-11.tar.gz
    public_key: /etc/audit/signing.pub.pem
  register: found
  failed_when: not found.verified
"""

RETURN = r"""
verified:
  description: Whether nothing failed and nothing that needs proof is without.
  type: bool
  returned: success
verdict:
  description: V(verified), V(incomplete) or V(failed).
  type: str
  returned: success
summary:
  description: The verdict in plain words.
  type: str
  returned: success
reasons:
  description: Reason codes of what failed.
  type: list
  elements: str
  returned: success
counts:
  description: How many records there are, and how many are C(verified), C(failed), C(incomplete) and C(security_events).
  type: dict
  returned: success
by_reason:
  description: Hosts by the reason of their newest record.
  type: dict
  returned: success
findings:
  description: What a reader must know, gravest first; C(severity), C(code), C(host), C(record), C(message), C(next_step).
  type: list
  elements: dict
  returned: success
signing_keys_from:
  description: Whose keys the tokens were checked with.
  type: str
  returned: success
checks:
  description: The checks of the bundle.
  type: list
  elements: dict
  returned: success
records:
  description: The records with what they say in short and their verdict.
  type: list
  elements: dict
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
        },
        mutually_exclusive=[["public_key", "sha256"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries((arguments.CRYPTOGRAPHY,))
        from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import files

        found = files.check(*(options[name] for name in ("bundle", "public_key", "sha256", "jwks")))
        told = found.result()
        records = [{name: value for name, value in one.items() if name != "checks"} for one in told["records"]]
        return {
            "changed": False,
            **told,
            "records": records,
            "by_reason": found.by_reason(),
            "findings": found.findings(),
        }

    skin.run(module, run)


if __name__ == "__main__":
    main()
