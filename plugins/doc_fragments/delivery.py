# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that deliver a secret, or take a delivered one away."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
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
    version_added: 0.2.0
  format:
    description:
      - Form of the secret. V(auto) is V(pem_pkcs8) for RSA and EC keys, and V(raw) for symmetric keys and application secrets.
      - V(pem_pkcs1) is for RSA keys alone, V(der) is PKCS#8 for RSA and EC keys, V(raw) and V(base64) are for symmetric keys and
        application secrets, V(jwk) is for all keys. Neither V(raw), V(base64) nor V(jwk) has a newline at the end.
    type: str
    choices: [auto, pem_pkcs8, pem_pkcs1, der, jwk, raw, base64]
    default: auto
    version_added: 0.2.0
  dest:
    description:
      - With O(deliver_to=file), path of the file for the secret. It is replaced atomically; missing directories are made.
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
      - Require that O(dest) and O(luks_existing_key_file) are on a memory-backed file system (tmpfs or ramfs), so that no key
        reaches a disk.
    type: bool
    default: true
  keyring:
    description:
      - With O(deliver_to=keyring), which one. V(user), the default, is that of all processes of the user and lives as long as one of
        them. V(persistent) outlives them, by default for three days after its last use. V(session) is that of the process that
        runs this, which is gone with an Ansible task; it is for the guest agent within a service.
    type: str
    choices: [user, session, persistent]
    version_added: 0.2.0
  keyring_description:
    description:
      - Name of the key in the keyring, by which the consumer searches a key of type C(user).
    type: str
    version_added: 0.2.0
  keyring_permissions:
    description:
      - Permissions of the key in hex digits, as keyctl-setperm has them. The default V(0x3f0b0000) lets the user's processes read it
        also where their session keyring has no link to the user's keyring, as in services and in many logins. Rights for others
        are refused.
    type: str
    version_added: 0.2.0
  credential_name:
    description:
      - With O(deliver_to=systemd_credential), name of the credential.
    type: str
    version_added: 0.2.0
  credential_store:
    description:
      - Directory of the credential. By default C(/run/credstore), and C(/run/credstore.encrypted) for encrypted ones. An encrypted
        credential may be on a disk, such as in C(/etc/credstore.encrypted); a plain one may not.
    type: path
    version_added: 0.2.0
  credential_encryption:
    description:
      - Whether and with which key C(systemd-creds) encrypts the credential. By default V(none).
    type: str
    choices: [none, auto, host, tpm2]
    version_added: 0.2.0
  luks_device:
    description:
      - With O(deliver_to=luks), the volume; a block device, or a file that holds one.
    type: path
    version_added: 0.2.0
  luks_header:
    description:
      - File or device with the volume's header, where it is apart from the volume.
    type: path
    version_added: 0.2.0
  luks_slot:
    description:
      - Key slot for the secret. By default a free one, which is returned. To remove, it must be given.
    type: int
    version_added: 0.2.0
  luks_replace:
    description:
      - Whether another passphrase in O(luks_slot) may be exchanged, as after a rotation. The new secret is put into a free slot first, so
        that the volume can be opened at every moment.
    type: bool
    default: false
    version_added: 0.2.0
  luks_existing_key_file:
    description:
      - File with a passphrase that opens the volume now, needed to add another. All its bytes count, a final newline too.
    type: path
    version_added: 0.2.0
  luks_existing_keyring:
    description:
      - Description of a key with such a passphrase in the user keyring of the user who runs this, instead of a file.
    type: str
    version_added: 0.2.0
  luks_name:
    description:
      - Open the volume under this name (C(/dev/mapper/NAME)) where it is not open. It is never closed.
    type: str
    version_added: 0.2.0
  command:
    description:
      - With O(deliver_to=command), the absolute path of a program and its arguments. It runs without a shell, with the secret on its
        standard input, a bare environment, and its output going nowhere.
      - It runs again when the secret, the command or O(format) changes, and after a failure.
    type: list
    elements: str
    version_added: 0.2.0
  command_timeout:
    description:
      - How long the command may take, in seconds. By default 60. Then it is ended and the delivery has failed.
    type: float
    version_added: 0.2.0
  fingerprint_file:
    description:
      - File that remembers what the command had last; the public fingerprint of a key, or a salted HMAC of a secret. By default one in
        C(/run/azure-skr/commands), so that the command runs again after a boot. Give one on a disk for a consumer that keeps the key.
    type: path
    version_added: 0.2.0
  ttl:
    description:
      - Remove the copy after so many seconds, counted anew by each release. A key in a keyring is ended by the kernel. A file or credential
        is overwritten and removed by a timer of systemd; where systemd does not run, nothing is delivered.
      - It renews itself without that being a change.
    type: int
    version_added: 0.2.0
  remove_on_stop:
    description:
      - Note that the copy is to be removed when the guest agent's service stops.
    type: bool
    default: false
    version_added: 0.2.0
"""
