#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hardware_report_info
short_description: Read and verify this VM's hardware report
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Reads what this VM can prove about itself and verifies it here, without asking an attestation service.
  - Hardware report (AMD SEV-SNP or Intel TDX) up to the vendor's root, its binding to the TPM, the attestation key's certificate, a TPM quote
    and the measured-boot log.
  - Every check is listed as ok, failed or not checked, with the reason. A failed check does not fail the task; look at RV(verified).
  - With O(include_evidence) the evidence itself is returned, for C(azure-skr verify --evidence) on another machine.
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
  attestation_url:
    description:
      - Of no use here, because nobody is asked to attest. It is accepted so that C(module_defaults) of the group can set it.
    type: str
    required: false
  ak_roots_path:
    description:
      - PEM file of authorities to trust for the AK certificate. Without it that certificate's issuer is told and not verified.
      - On a Trusted Launch VM nothing else vouches for the TPM, so there the verdict is V(incomplete) without it.
    type: path
  user_data:
    description:
      - Up to 64 bytes in hex, filled up with zeros, which the hardware signs for as part of its report.
      - They are written to the TPM's index for them (0x01400002), which is scratch space and not counted as a change.
    type: str
  nonce:
    description:
      - Up to 32 bytes in hex that the TPM's quote carries, which proves that it is fresh.
    type: str
  allow_debug:
    description:
      - Whether a VM that its host may debug passes.
    type: bool
    default: false
  allow_migration:
    description:
      - Whether a VM with a migration agent passes (SNP).
    type: bool
    default: false
  vmpl:
    description:
      - The privilege level that an SNP report must be of.
    type: int
    default: 0
  include_evidence:
    description:
      - Whether to return the evidence itself. It holds nothing secret, and it identifies the VM.
    type: bool
    default: false
seealso:
  - module: confidential.azure_skr.attestation_info
"""

EXAMPLES = r"""
- name: Read and verify this VM's hardware report
  confidential.azure_skr.hardware_report_info:
    require_tee: confidential
  register: report

- name: It is genuine
  ansible.builtin.assert:
    that: report.verified
    fail_msg: "{{ report.summary }}"

- name: Take fresh evidence for an auditor
  confidential.azure_skr.hardware_report_info:
    nonce: "{{ audit_nonce | hash('sha256') }}"
    user_data: "{{ audit_nonce | hash('sha256') }}"
    include_evidence: true
  register: evidence
"""

RETURN = r"""
verified:
  description: Whether nothing failed, and nothing that there is remained without proof.
  type: bool
  returned: success
verdict:
  description: V(verified), V(failed), or V(incomplete) where something cannot be checked.
  type: str
  returned: success
summary:
  description: The verdict in plain words.
  type: str
  returned: success
text:
  description: The verdict and every check, for a person.
  type: str
  returned: success
reasons:
  description: Stable reason codes of the checks that failed.
  type: list
  elements: str
  returned: success
checks:
  description: Every check, in order.
  type: list
  elements: dict
  returned: success
  contains:
    number:
      description: Its place.
      type: int
    name:
      description: Stable name of the check.
      type: str
    title:
      description: What was checked.
      type: str
    state:
      description: V(ok), V(failed) or V(not checked).
      type: str
    message:
      description: What was found, or why it was not checked.
      type: str
    reason:
      description: Stable code, where it failed.
      type: str
    next_step:
      description: What to do, where it failed.
      type: str
    facts:
      description: Values behind a failure.
      type: dict
    gap:
      description: Whether something that there is has no proof because this was not checked.
      type: bool
evidence:
  description:
    - Public facts; C(tee) is V(snp), V(tdx) or V(none) (Trusted Launch), with the report's fields, the VM's id and configuration, the PCRs,
      the state of the event log, and the AK certificate with the days it has left.
  type: dict
  returned: success
document:
  description: The evidence itself, as C(azure-skr verify --evidence) takes it.
  type: dict
  returned: when O(include_evidence) is set
counts:
  description: What it cost; TPM commands and HTTP requests.
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
        "attestation_url": {"type": "str"},
        "ak_roots_path": {"type": "path"},
        "user_data": {"type": "str"},
        "nonce": {"type": "str"},
        "allow_debug": {"type": "bool", "default": False},
        "allow_migration": {"type": "bool", "default": False},
        "vmpl": {"type": "int", "default": 0},
        "include_evidence": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import attest, verify, verify_guest

        guest = arguments.guest(options)
        wanted = verify.Wanted(
            roots_pem=guest.extra_roots(),
            ak_roots_pem=attest.read_pem("ak_roots_path", options["ak_roots_path"]),
            user_data=attest.user_data_bytes(options["user_data"]),
            quote_nonce=attest.hex_option("nonce", options["nonce"], 32),
            **{name: options[name] for name in ("require_tee", "allow_debug", "allow_migration", "vmpl")},
        )
        return verify_guest.info(guest, wanted, options["include_evidence"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
