#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_doctor
short_description: Diagnose this confidential VM
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Looks at all that a release of a key needs on this VM and tells what is wrong, what is wanted and what to do.
  - It looks at interpreter and libraries, TPM, kind of VM, attestation key and its certificate, boot registers and log, clock, metadata
    service, identity, hardware certificates, name resolution, connections, attestation provider, the way into the vault, key, and
    destination.
  - Each check stands for itself. Nothing is changed, and no key is released.
  - A look at the network takes at most ten seconds; different hosts are looked at at the same time.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.guest.identity
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
attributes:
  check_mode:
    support: full
    details:
      - It never changes anything.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  attestation_url:
    description:
      - The attestation provider that this VM asks, such as V(https://sharedweu.weu.attest.azure.net).
      - Without it, neither the provider nor its place in the key's policy is looked at.
    type: str
    required: false
  tpm_timeout:
    description:
      - How long to wait while another process holds the TPM, in seconds.
    type: float
    default: 5.0
  vault_uri:
    description:
      - Address of the vault. Without it and O(hsm_uri), no vault is looked at.
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, instead of a vault.
    type: str
  key_name:
    description:
      - Name of the key, to be looked at where the identity may read it.
    type: str
  key_version:
    description:
      - Version of the key. By default the latest.
    type: str
  dest:
    description:
      - Path where the key is to go, to see whether it is on a memory-backed file system.
    type: path
  fail_on:
    description:
      - Whether findings make the task fail. V(failed) means those of this severity, V(warning) those and warnings, V(never) none.
    type: str
    choices: [failed, warning, never]
    default: never
seealso:
  - module: confidential.azure_skr.key_release
  - module: confidential.azure_skr.attestation_info
"""

EXAMPLES = r"""
- name: What is wrong with this VM
  confidential.azure_skr.guest_doctor:
  register: doctor

- name: Whether this VM could release the key, as far as that can be seen without a release
  confidential.azure_skr.guest_doctor:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    dest: /run/web/tls.pem
    fail_on: failed
"""

RETURN = r"""
findings:
  description: What was found, worst first.
  type: list
  elements: dict
  returned: when the options are valid
  contains:
    check:
      description: Stable name of the check.
      type: str
    title:
      description: The check in words.
      type: str
    subject:
      description: What was looked at, such as a host, where a check looks at several.
      type: str
    severity:
      description: One of V(failed), V(warning), V(info), V(ok) and V(skipped).
      type: str
    code:
      description: Stable code of the finding; V(ok) and V(skipped) where there is nothing to tell.
      type: str
    found:
      description: What was found, or why the check was skipped.
      type: str
    wanted:
      description: What the check wants.
      type: str
    next_step:
      description: What to do.
      type: str
    facts:
      description: Values behind the finding.
      type: dict
counts:
  description: How many findings there are of each severity.
  type: dict
  returned: when the options are valid
worst:
  description: The worst severity.
  type: str
  returned: when the options are valid
duration_s:
  description: How long the examination took, in seconds.
  type: float
  returned: when the options are valid
reason:
  description: Stable code of the failure; V(doctor_findings) where O(fail_on) made the task fail.
  type: str
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import arguments


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **arguments.doctor_argument_spec(),
            "fail_on": {"type": "str", "choices": ["failed", "warning", "never"], "default": "never"},
        },
        mutually_exclusive=[*arguments.IDENTITY_EXCLUSIVE, ["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )

    def run() -> t.Dict[str, t.Any]:
        # No library is required beforehand: one that is missing is a finding.
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest.doctor import examination

        result = examination.examine(arguments.patient(module.params))
        return examination.judged(result, module.params["fail_on"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
