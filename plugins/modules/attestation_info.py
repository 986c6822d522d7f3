#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_info
short_description: What this confidential VM can prove
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Collects this VM's evidence, verifies it locally, has it attested and returns the validated claims.
  - The token itself is not returned; whoever holds one can present it.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
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
  client_payload:
    description:
      - Values to be carried in the attestation token. They are chosen by the VM and prove nothing.
      - A member V(nonce) replaces the random one.
    type: dict
seealso:
  - name: Guest attestation for confidential VMs
    description: The feature as Microsoft documents it.
    link: https://learn.microsoft.com/azure/confidential-computing/guest-attestation-confidential-vms
  - module: confidential.azure_skr.key_release
"""

EXAMPLES = r"""
- name: Attest this VM
  confidential.azure_skr.attestation_info:
    attestation_url: https://sharedweu.weu.attest.azure.net
  register: attestation

- name: It is a compliant SNP VM
  ansible.builtin.assert:
    that:
      - attestation.tee_type == 'sevsnpvm'
      - attestation.compliance_status == 'azure-compliant-cvm'
"""

RETURN = r"""
validated:
  description: Whether signature, issuer, times, nonce and binding of the token were checked; always V(true) on success.
  type: bool
  returned: success
authority:
  description: The attestation authority that was asked.
  type: str
  returned: success
claims:
  description: The claims of the token.
  type: dict
  returned: success
tee_type:
  description: Kind of trusted execution environment, such as V(sevsnpvm).
  type: str
  returned: success
compliance_status:
  description: What the authority says of the platform, such as V(azure-compliant-cvm).
  type: str
  returned: success
secure_boot:
  description: Whether the VM booted securely, as measured.
  type: bool
  returned: success
issued_at:
  description: Time of the token, in seconds since the epoch.
  type: int
  returned: success
expires_at:
  description: End of the token's life, in seconds since the epoch.
  type: int
  returned: success
evidence:
  description: Public facts about this VM from its evidence, such as firmware level, chip id and days left of the AK certificate.
  type: dict
  returned: success
counts:
  description: What the attestation cost; HTTP requests, TPM commands, openings of the device, keys made.
  type: dict
  returned: success
reason:
  description: Stable code of the failure.
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
        argument_spec={**arguments.guest_argument_spec(), "client_payload": {"type": "dict"}}, supports_check_mode=True
    )

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest

        return attest.info(arguments.guest(module.params), module.params["client_payload"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
