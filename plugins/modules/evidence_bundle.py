#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_bundle
short_description: Pack collected evidence into one signed bundle
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes one archive of what M(confidential.azure_skr.evidence_collect) gathered from the VMs and what the control plane says, its hash list
    (C(DEST.sha256), in the form of sha256sum) and, with a key, a detached signature (C(DEST.sig)). Runs on the controller.
  - The archive has the same bytes for the same content. C(azure-skr verify-evidence) and M(confidential.azure_skr.evidence_verify) check it off line.
  - RSA and EC signatures are such as C(openssl dgst -sha256 -verify) checks, Ed25519 signatures such as C(openssl pkeyutl -verify -rawin) checks.
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
  source:
    description:
      - Folder of the fetched files.
    type: path
    required: true
  dest:
    description:
      - The bundle, a path that ends in C(.tar.gz). It is replaced atomically and readable by its owner alone, because it tells much of the fleet.
    type: path
    required: true
  hosts:
    description:
      - Every host of the audit, those that were not reached too.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description:
          - Name in the inventory.
        type: str
        required: true
      reachable:
        description:
          - Whether it was reached.
        type: bool
        required: true
      reason:
        description:
          - Why not.
        type: str
  key_facts:
    description:
      - C(keys) of M(confidential.azure_skr.exportable_key_info).
    type: list
    elements: dict
    default: []
  key_place:
    description:
      - Address of the vault or managed HSM of these keys.
    type: str
  access:
    description:
      - C(access) of M(confidential.azure_skr.release_access_info).
    type: list
    elements: dict
    default: []
  vms:
    description:
      - C(vms) of M(confidential.azure_skr.cvm_info), by which identities get the names of VMs.
    type: list
    elements: dict
    default: []
  accepted_findings:
    description:
      - Findings on the release policy that were accepted, with the justification, as O(confidential.azure_skr.exportable_key#module:accepted_findings).
        They stand beside the policy in the bundle.
    type: dict
    default: {}
  gaps:
    description:
      - What else could not be collected, in words.
    type: list
    elements: str
    default: []
  private_key:
    description:
      - File with the private key that signs, PEM; RSA of 2048 bits at least, EC or Ed25519. Without it there is no signature, which is a warning.
    type: path
  private_key_passphrase:
    description:
      - Its passphrase.
    type: str
  created:
    description:
      - When the bundle was made, such as V(2026-11-25T12:00:00Z). By default now, or what the bundle says that is there and holds the same.
    type: str
  metrics_dest:
    description:
      - Also write the metrics of all hosts, each with the label C(host), and totals of the fleet for Prometheus' textfile collector.
    type: path
seealso:
  - module: confidential.azure_skr.evidence_verify
  - module: confidential.azure_skr.evidence_report
"""

EXAMPLES = r"""
- name: One signed bundle
  confidential.azure_skr.evidence_bundle:
    source: /srv/audit/collected
    dest: /srv/audit/2026-11.tar.gz
    hosts:
      - {host: web-01, reachable: true}
      - {host: web-02, reachable: false, reason: No route to host}
    private_key: /etc/audit/signing.pem
    private_key_passphrase: "{{ audit_passphrase }}"
"""

RETURN = r"""
bundle:
  description: The bundle.
  type: str
  returned: success
sha256:
  description: Its SHA-256.
  type: str
  returned: success
size:
  description: Its size in bytes.
  type: int
  returned: success
created:
  description: When it was made.
  type: str
  returned: success
signed_by:
  description: Kind and SHA-256 of the public key that checks the signature; none without a key.
  type: str
  returned: success
public_key_pem:
  description: That public key.
  type: str
  returned: success
records:
  description: How many records there are of each host.
  type: dict
  returned: success
gaps:
  description: What could not be collected, in words.
  type: list
  elements: str
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
    host = {
        "host": {"type": "str", "required": True},
        "reachable": {"type": "bool", "required": True},
        "reason": {"type": "str"},
    }
    rows = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "dest": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": host},
            "key_facts": {**rows, "no_log": False},
            "key_place": {"type": "str", "no_log": False},
            "access": rows,
            "vms": rows,
            "accepted_findings": {"type": "dict", "default": {}},
            "gaps": {"type": "list", "elements": "str", "default": []},
            "private_key": {"type": "path", "no_log": False},
            "private_key_passphrase": {"type": "str", "no_log": True},
            "created": {"type": "str"},
            "metrics_dest": {"type": "path"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries((arguments.CRYPTOGRAPHY,))
        from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import control, files

        facts = {
            "keys": control.keys(options["key_facts"], options["key_place"] or "", options["accepted_findings"]),
            "access": control.access(options["access"], options["vms"]),
            "vms": options["vms"],
        }
        names = ("source", "dest", "hosts", "gaps", "private_key", "created", "metrics_dest")
        wanted = files.Wanted(
            control=facts, passphrase=options["private_key_passphrase"], **{name: options[name] for name in names}
        )
        return files.make(wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
