#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_hsm_activation
short_description: Activate a managed HSM
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Downloads the security domain of a managed HSM under a quorum of certificates, which activates it.
  - Whoever has the security domain and a quorum of the private keys has the HSM; who loses them cannot rebuild it. Keep them apart,
    off the controller.
  - The security domain and keys are written to files of mode 0600 and appear nowhere else. A file that is there is never overwritten.
  - The identity must be among the HSM's administrators.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description:
      - Name of the HSM.
    type: str
    required: true
  resource_group:
    description:
      - Resource group of the HSM.
    type: str
    required: true
  security_domain_file:
    description:
      - Where on the controller the security domain is written. The folder must exist.
    type: path
    required: true
  security_domain_quorum:
    description:
      - How many of the private keys are needed to open the security domain; at least 2.
    type: int
    default: 2
  security_domain_certificates:
    description:
      - Certificates of 3 to 10 RSA keys in PEM or DER, whose private halves are best made and kept elsewhere.
    type: list
    elements: path
  security_domain_keys_dir:
    description:
      - Make the keys here instead, in this folder on the controller; C(security-domain-N.key) with its certificate
        C(security-domain-N.pem). Keys that are there from an earlier run are used again.
    type: path
  security_domain_key_count:
    description:
      - How many keys O(security_domain_keys_dir) gets, from 3 to 10.
    type: int
    default: 3
  security_domain_passphrase:
    description:
      - What the private keys in O(security_domain_keys_dir) are encrypted with. Without it they are not encrypted.
    type: str
  download_again:
    description:
      - Of an HSM that is active, download the security domain again if O(security_domain_file) is not there.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait for the activation, in seconds.
    type: float
    default: 600
seealso:
  - name: About the Managed HSM security domain
    description: What it is and how to keep it, as Microsoft documents it.
    link: https://learn.microsoft.com/azure/key-vault/managed-hsm/security-domain
  - module: confidential.azure_skr.managed_hsm
"""

EXAMPLES = r"""
- name: Activate with the certificates of three keepers, two of whom are needed
  confidential.azure_skr.managed_hsm_activation:
    name: hsm-web-prod
    resource_group: rg-web
    security_domain_file: /srv/ceremony/hsm-web-prod.json
    security_domain_quorum: 2
    security_domain_certificates:
      - /srv/ceremony/alice.pem
      - /srv/ceremony/bob.pem
      - /srv/ceremony/carol.pem

- name: Activate a test HSM with keys made here
  confidential.azure_skr.managed_hsm_activation:
    name: hsm-web-test
    resource_group: rg-web
    security_domain_file: /root/hsm-web-test/domain.json
    security_domain_keys_dir: /root/hsm-web-test
"""

RETURN = r"""
activation_status:
  description: V(Active), also in check mode where it would be.
  type: str
  returned: success
hsm_uri:
  description: Address of the HSM.
  type: str
  returned: success
security_domain_file:
  description: Path of the security domain, if it is there.
  type: str
  returned: success
certificates:
  description: Paths of the certificates that were used or given.
  type: list
  elements: str
  returned: success
quorum:
  description: How many private keys are needed to open the security domain.
  type: int
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import hsm_activation
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "security_domain_file": {"type": "path", "required": True},
        "security_domain_quorum": {"type": "int", "default": 2},
        "security_domain_certificates": {"type": "list", "elements": "path"},
        "security_domain_keys_dir": {"type": "path", "no_log": False},
        "security_domain_key_count": {"type": "int", "default": 3, "no_log": False},
        "security_domain_passphrase": {"type": "str", "no_log": True},
        "download_again": {"type": "bool", "default": False},
        "wait_timeout": {"type": "float", "default": 600},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[["security_domain_certificates", "security_domain_keys_dir"]],
        required_one_of=[["security_domain_certificates", "security_domain_keys_dir"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        wanted = hsm_activation.Wanted(
            name=options["name"],
            resource_group=options["resource_group"],
            file=options["security_domain_file"],
            quorum=options["security_domain_quorum"],
            certificates=tuple(options["security_domain_certificates"] or ()),
            keys_dir=options["security_domain_keys_dir"],
            key_count=options["security_domain_key_count"],
            passphrase=options["security_domain_passphrase"],
            download_again=options["download_again"],
            wait_timeout=options["wait_timeout"],
        )
        with connection(options) as azure:
            return hsm_activation.ensure(azure, wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
