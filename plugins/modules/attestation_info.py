#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attestation_info
short_description: What this VM can prove
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Collects this VM's evidence, verifies it locally, has it attested and returns the validated claims.
  - Works on confidential VMs with AMD SEV-SNP or Intel TDX, and on Trusted Launch VMs, which prove less.
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
  nonce:
    description:
      - A nonce of the caller, carried in the token instead of the random one, so that somebody else can see that the token is fresh.
    type: str
    version_added: 0.2.0
  user_data:
    description:
      - Up to 64 bytes in hex, filled up with zeros, which the hardware signs for as part of its report.
      - They are written to the TPM's index for them (0x01400002), which is scratch space and not counted as a change.
    type: str
    version_added: 0.2.0
  attestation_type:
    description:
      - V(guest) attests TPM and hardware; its token is the one that a key is released to.
      - V(platform) attests the hardware's report alone; its claims are at top level, and no vault releases a key to this VM for it.
    type: str
    choices: [guest, platform]
    default: guest
    version_added: 0.2.0
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

- name: Attest the TDX report alone, bound to a value of the auditor
  confidential.azure_skr.attestation_info:
    attestation_url: https://sharedweu.weu.attest.azure.net
    attestation_type: platform
    require_tee: tdx
    nonce: "{{ audit_nonce }}"
    user_data: "{{ audit_nonce | hash('sha256') }}"
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
  description: Kind of trusted execution environment, V(sevsnpvm) or V(tdxvm); null on a Trusted Launch VM.
  type: str
  returned: success
compliance_status:
  description: What the authority says of the platform, such as V(azure-compliant-cvm); null on a Trusted Launch VM.
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
attestation_type:
  description: What was attested, V(guest) or V(platform).
  type: str
  returned: success
  version_added: 0.2.0
evidence:
  description:
    - Public facts about this VM from its evidence.
    - C(tee) is V(snp), V(tdx) or V(none), C(isolation) the service's word for it; C(event_log) tells whether the measured-boot log leads to
      the live PCRs, which differ, and whether the VM booted securely; C(ak_cert_days_left) and C(ak_cert_renewal_due) tell the age of
      the AK certificate, whose issuer only the service verifies.
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
    spec = {
        **arguments.guest_argument_spec(),
        "client_payload": {"type": "dict"},
        "nonce": {"type": "str"},
        "user_data": {"type": "str"},
        "attestation_type": {"type": "str", "choices": ["guest", "platform"], "default": "guest"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest

        names = ("nonce", "user_data", "attestation_type")
        return attest.info(
            arguments.guest(options), options["client_payload"], **{name: options[name] for name in names}
        )

    skin.run(module, run)


if __name__ == "__main__":
    main()
