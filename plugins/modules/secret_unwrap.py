#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_unwrap
short_description: Open application secrets with a released key, in this confidential VM
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Releases an RSA key into this VM as M(confidential.azure_skr.key_release) does, opens secrets that were wrapped with its public half
    (M(confidential.azure_skr.secret_wrap) or C(azure-skr wrap-secret)), and delivers each.
  - The key itself is delivered nowhere; it is used in memory and overwritten. The secrets pass no controller, command line or log.
  - Nothing is delivered unless all envelopes open.
  - An envelope does not prove who made it, only that its secret is for this key; see docs/envelope.md.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.guest.identity
  - confidential.azure_skr.release
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
attributes:
  check_mode:
    support: full
    details:
      - The key is released and the envelopes are opened to predict the change, but nothing is delivered.
  diff_mode:
    support: full
    details:
      - Shows the places, never a secret.
  idempotent:
    support: full
    details:
      - The key is released again, and a secret delivered only where the place holds another one or differs from the options.
options:
  secrets:
    description:
      - The envelopes, and where each secret goes.
    type: list
    elements: dict
    required: true
    suboptions:
      envelope:
        description:
          - The envelope, as an object or as text. Either this or O(secrets[].envelope_file).
        type: raw
      envelope_file:
        description:
          - File on the VM with the envelope.
        type: path
      name:
        description:
          - What the secret is called in its envelope. An envelope of another name is refused.
        type: str
      deliver_to:
        description:
          - Where the consumer expects the secret.
          - V(file) is a file, by default in memory.
          - V(keyring) is a key in a keyring of the kernel.
          - V(systemd_credential) is a file of a credential store, which a service gets with C(LoadCredential) or C(LoadCredentialEncrypted)
            when it starts.
          - V(luks) is a key slot of a LUKS volume, for symmetric keys and application secrets.
          - V(command) is the standard input of a program.
        type: str
        choices: [file, keyring, systemd_credential, luks, command]
        default: file
      format:
        description:
          - Form of the secret. V(auto) is V(pem_pkcs8) for RSA and EC keys, and V(raw) for symmetric keys and application secrets.
          - V(pem_pkcs1) is for RSA keys alone, V(der) is PKCS#8 for RSA and EC keys, V(raw) and V(base64) are for symmetric keys and
            application secrets, V(jwk) is for all keys. Neither V(raw), V(base64) nor V(jwk) has a newline at the end.
        type: str
        choices: [auto, pem_pkcs8, pem_pkcs1, der, jwk, raw, base64]
        default: auto
      dest:
        description:
          - With O(secrets[].deliver_to=file), path of the file for the secret. It is replaced atomically; missing directories are made.
        type: path
      owner:
        description:
          - Owner of the file, or user whose keyring it is, by name or number.
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
          - Require that O(secrets[].dest) and O(secrets[].luks_existing_key_file) are on a memory-backed file system (tmpfs or ramfs), so that no key
            reaches a disk.
        type: bool
        default: true
      keyring:
        description:
          - With O(secrets[].deliver_to=keyring), which one. V(user), the default, is that of all processes of the user and lives as long as one of
            them. V(persistent) outlives them, by default for three days after its last use. V(session) is that of the process that
            runs this, which is gone with an Ansible task; it is for the guest agent within a service.
        type: str
        choices: [user, session, persistent]
      keyring_description:
        description:
          - Name of the key in the keyring, by which the consumer searches a key of type C(user).
        type: str
      keyring_permissions:
        description:
          - Permissions of the key in hex digits, as keyctl-setperm has them. The default V(0x3f0b0000) lets the user's processes read it
            also where their session keyring has no link to the user's keyring, as in services and in many logins. Rights for others
            are refused.
        type: str
      credential_name:
        description:
          - With O(secrets[].deliver_to=systemd_credential), name of the credential.
        type: str
      credential_store:
        description:
          - Directory of the credential. By default C(/run/credstore), and C(/run/credstore.encrypted) for encrypted ones. An encrypted
            credential may be on a disk, such as in C(/etc/credstore.encrypted); a plain one may not.
        type: path
      credential_encryption:
        description:
          - Whether and with which key C(systemd-creds) encrypts the credential. By default V(none).
        type: str
        choices: [none, auto, host, tpm2]
      luks_device:
        description:
          - With O(secrets[].deliver_to=luks), the volume; a block device, or a file that holds one.
        type: path
      luks_header:
        description:
          - File or device with the volume's header, where it is apart from the volume.
        type: path
      luks_slot:
        description:
          - Key slot for the secret. By default a free one, which is returned. To remove, it must be given.
        type: int
      luks_replace:
        description:
          - Whether another passphrase in O(secrets[].luks_slot) may be exchanged, as after a rotation. The new secret is put into a free slot first, so
            that the volume can be opened at every moment.
        type: bool
        default: false
      luks_existing_key_file:
        description:
          - File with a passphrase that opens the volume now, needed to add another. All its bytes count, a final newline too.
        type: path
      luks_existing_keyring:
        description:
          - Description of a key with such a passphrase in the user keyring of the user who runs this, instead of a file.
        type: str
      luks_name:
        description:
          - Open the volume under this name (C(/dev/mapper/NAME)) where it is not open. It is never closed.
        type: str
      command:
        description:
          - With O(secrets[].deliver_to=command), the absolute path of a program and its arguments. It runs without a shell, with the secret on its
            standard input, a bare environment, and its output going nowhere.
          - It runs again when the secret, the command or O(secrets[].format) changes, and after a failure.
        type: list
        elements: str
      command_timeout:
        description:
          - How long the command may take, in seconds. By default 60. Then it is ended and the delivery has failed.
        type: float
      fingerprint_file:
        description:
          - File that remembers what the command had last; the public fingerprint of a key, or a salted HMAC of a secret. By default one in
            C(/run/azure-skr/commands), so that the command runs again after a boot. Give one on a disk for a consumer that keeps the key.
        type: path
      ttl:
        description:
          - Remove the copy after so many seconds, counted anew by each release. A key in a keyring is ended by the kernel. A file or credential
            is overwritten and removed by a timer of systemd; where systemd does not run, nothing is delivered.
          - It renews itself without that being a change.
        type: int
      remove_on_stop:
        description:
          - Note that the copy is to be removed when the guest agent's service stops.
        type: bool
        default: false
seealso:
  - module: confidential.azure_skr.secret_wrap
  - module: confidential.azure_skr.key_release
  - module: confidential.azure_skr.key_removal
"""

EXAMPLES = r"""
- name: Database password and API token, readable by the application alone
  confidential.azure_skr.secret_unwrap:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: secrets-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    secrets:
      - envelope: "{{ database_password_envelope }}"
        name: database
        dest: /run/web/database
        owner: www-data
      - envelope: "{{ lookup('ansible.builtin.file', 'api-token.jwe') }}"
        deliver_to: systemd_credential
        credential_name: api-token
"""

RETURN = r"""
secrets:
  description: For each envelope its C(name), whether its delivery C(changed) anything, and public facts of the place in C(delivered).
  type: list
  elements: dict
  returned: success
kid:
  description: Identifier of the key that opened the envelopes, with version.
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
  description: The verdict over the release policy, as M(confidential.azure_skr.key_release) returns it.
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
        **arguments.identity_argument_spec(),
        **arguments.release_argument_spec(),
        "secrets": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "no_log": False,
            "options": arguments.secret_argument_spec(),
        },
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[*arguments.IDENTITY_EXCLUSIVE, *arguments.RELEASE_EXCLUSIVE],
        required_one_of=[["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import application_secrets

        entries = application_secrets.secrets(options["secrets"])
        wanted = arguments.wanted(options)
        return application_secrets.unwrap(arguments.guest(options), wanted, entries, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
