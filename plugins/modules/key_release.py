#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: key_release
short_description: Release a key into this confidential VM
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Attests this VM, asks the vault for the key, verifies the signed answer, unwraps the key in the VM's TPM and writes it to a file.
  - The key never passes the controller, a command line, a log or (by default) a disk.
  - Every failure carries a stable O(ignore:reason), its cause and the next step.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.guest.identity
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
attributes:
  check_mode:
    support: full
    details:
      - The key is released to predict the change, but not written.
  diff_mode:
    support: full
    details:
      - Shows owner, group, mode and public fingerprint, never the key.
  idempotent:
    support: full
    details:
      - The key is released again, and the file written only where bytes, owner or mode differ.
options:
  vault_uri:
    description:
      - Address of the vault, such as V(https://myvault.vault.azure.net). Either this or O(hsm_uri).
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net).
    type: str
    version_added: 0.2.0
  key_name:
    description:
      - Name of the key.
    type: str
    required: true
  key_version:
    description:
      - Version to release. By default the latest.
    type: str
  wrap_algorithm:
    description:
      - How the vault wraps the key for this VM.
    type: str
    choices: [CKM_RSA_AES_KEY_WRAP, RSA_AES_KEY_WRAP_256, RSA_AES_KEY_WRAP_384]
    default: RSA_AES_KEY_WRAP_256
    aliases: [enc]
  release_policy:
    description:
      - The release policy of the key, if known. It is evaluated over this VM's claims before the vault is asked (see O(preflight)),
        and explains a refusal, which the vault does not.
      - Without it the live policy is read for this, where the VM's identity has the permission to get the key; the release permission
        alone is enough to release, not to read.
    type: dict
  preflight:
    description:
      - V(required) stops before the release when the policy is known and not met, V(advise) returns the verdict and goes on,
        V(off) evaluates nothing beforehand.
    type: str
    choices: [required, advise, 'off']
    default: required
  client_payload:
    description:
      - Values to be carried in the attestation token. They are chosen by the VM and prove nothing.
      - A member V(nonce) replaces the random one.
    type: dict
  wait_for_grant:
    description:
      - How long to wait while the release permission is missing, in seconds. A new grant takes effect only after a while, and the
        only proof that it has is a release, so this tries with growing pauses.
    type: float
    default: 0
  outside_validity:
    description:
      - What to do with a key that has expired or is not yet valid. The service releases it all the same.
    type: str
    choices: [refuse, warn, accept]
    default: refuse
  expiry_warning_days:
    description:
      - Warn when the key expires within so many days.
    type: int
    default: 30
  dest:
    description:
      - Path of the file for the key, as PKCS#8 PEM. It is replaced atomically; missing directories are made.
    type: path
    required: true
  owner:
    description:
      - Owner of the file, by name or number.
    type: str
  group:
    description:
      - Group of the file, by name or number.
    type: str
  mode:
    description:
      - Mode of the file in octal digits. Rights for others are refused.
    type: str
    default: '0400'
  memory_backed:
    description:
      - Require that O(dest) is on a memory-backed file system (tmpfs or ramfs), so that the key never reaches a disk.
    type: bool
    default: true
seealso:
  - name: Secure Key Release with Azure Key Vault
    description: The feature as Microsoft documents it.
    link: https://learn.microsoft.com/azure/confidential-computing/concept-skr-attestation
  - module: confidential.azure_skr.release_access
  - module: confidential.azure_skr.attestation_info
"""

EXAMPLES = r"""
- name: The application's key, readable by the application alone
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    dest: /run/web/tls.pem
    owner: www-data

- name: Right after a new grant, with the policy for a readable refusal
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    release_policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-compliance-status
              equals: azure-compliant-cvm
    wait_for_grant: 600
    dest: /run/web/tls.pem

- name: As an application of the vault's tenant, proved by a certificate that lies on the VM
  confidential.azure_skr.key_release:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    identity_source: service_principal
    tenant: contoso.onmicrosoft.com
    client_id: 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f
    client_certificate_file: /etc/web/application.pem
    dest: /run/web/tls.pem
"""

RETURN = r"""
dest:
  description: Path of the key file.
  type: str
  returned: success
kid:
  description: Key identifier with version.
  type: str
  returned: success
key_version:
  description: Version that was released.
  type: str
  returned: success
key_type:
  description: Kind of key, such as V(RSA-HSM).
  type: str
  returned: success
attributes:
  description: The key's attributes as the vault states them.
  type: dict
  returned: success
public_key_pem:
  description: The public half.
  type: str
  returned: success
public_key_sha256:
  description: SHA-256 of the DER of the public half (SubjectPublicKeyInfo), in hex.
  type: str
  returned: success
waited_s:
  description: Seconds waited until the grant took effect.
  type: float
  returned: success
authority:
  description: The attestation authority that vouched for this VM.
  type: str
  returned: success
preflight:
  description:
    - The verdict over the release policy; C(source) says whether the policy was given, live or unreadable, C(policy_sha256) is the digest
      of its meaning, C(satisfied), C(reason), C(failing) and C(near_misses) are the verdict, and C(trace) has every condition of every branch.
    - Where no policy could be read, C(remarks) tells what in this VM's claims often makes policies fail.
  type: dict
  returned: when O(preflight) is not V(off)
evidence:
  description: Public facts about this VM from its evidence.
  type: dict
  returned: success
counts:
  description: What the release cost; HTTP requests, TPM commands, openings of the device, keys made.
  type: dict
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
  description: Values behind the failure, such as the failing claims with the value wanted and the value found.
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
        **arguments.identity_argument_spec(),
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "required": True, "no_log": False},
        "key_version": {"type": "str", "no_log": False},
        "wrap_algorithm": {
            "type": "str",
            "choices": ["CKM_RSA_AES_KEY_WRAP", "RSA_AES_KEY_WRAP_256", "RSA_AES_KEY_WRAP_384"],
            "default": "RSA_AES_KEY_WRAP_256",
            "aliases": ["enc"],
        },
        "release_policy": {"type": "dict"},
        "preflight": {"type": "str", "choices": ["required", "advise", "off"], "default": "required"},
        "client_payload": {"type": "dict"},
        "wait_for_grant": {"type": "float", "default": 0},
        "outside_validity": {"type": "str", "choices": ["refuse", "warn", "accept"], "default": "refuse"},
        "expiry_warning_days": {"type": "int", "default": 30},
        "dest": {"type": "path", "required": True},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str", "default": "0400"},
        "memory_backed": {"type": "bool", "default": True},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[*arguments.IDENTITY_EXCLUSIVE, ["vault_uri", "hsm_uri"]],
        required_one_of=[["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver, release

        target = deliver.Target(**{name: options[name] for name in ("dest", "owner", "group", "mode", "memory_backed")})
        names = (
            "vault_uri",
            "hsm_uri",
            "key_name",
            "key_version",
            "wrap_algorithm",
            "release_policy",
            "preflight",
            "client_payload",
            "wait_for_grant",
            "outside_validity",
            "expiry_warning_days",
        )
        wanted = release.Wanted(
            target=target, identity=arguments.identity(options), **{name: options[name] for name in names}
        )
        return release.release(arguments.guest(options), wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
