#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_wrap
short_description: Wrap a secret so that only a confidential VM that gets the key can open it
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes the envelope of an application secret with the public half of an exportable RSA key. It is opened on a VM by
    M(confidential.azure_skr.secret_unwrap), and can be kept anywhere, also in Git.
  - Needs no vault, no credential and no TPM; it runs wherever the secret is, usually on the controller (C(delegate_to=localhost)).
  - The secret shows in no result and no log. So that it does not show either where Ansible prints the task's own options, take it
    from a variable or a file.
extends_documentation_fragment:
  - confidential.azure_skr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the key's fingerprint and the name, never the secret.
  idempotent:
    support: partial
    details:
      - An envelope does not tell what is in it, so one in O(dest) that is for the same key and of the same name is left as it is,
        unless O(force=true). Without O(dest) each run makes another envelope.
options:
  public_key:
    description:
      - The public half in PEM, as M(confidential.azure_skr.exportable_key) returns it (C(public_key_pem)).
    type: str
    required: true
  secret:
    description:
      - The secret, as text. Either this or O(secret_file).
    type: str
  secret_file:
    description:
      - File with the secret, byte by byte; a final newline counts.
    type: path
  name:
    description:
      - What the secret is called; public. M(confidential.azure_skr.secret_unwrap) refuses an envelope of another name where it is given one.
    type: str
  dest:
    description:
      - File for the envelope.
    type: path
  mode:
    description:
      - Mode of the file in octal digits. An envelope is not secret.
    type: str
    default: '0644'
  force:
    description:
      - Wrap again although O(dest) has an envelope for the key, such as when the secret has changed.
    type: bool
    default: false
requirements:
  - python >= 3.9
  - cryptography >= 3.4
seealso:
  - module: confidential.azure_skr.secret_unwrap
  - module: confidential.azure_skr.exportable_key
"""

EXAMPLES = r"""
- name: The key's public half
  confidential.azure_skr.exportable_key_info:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: secrets-key
  register: found
  delegate_to: localhost

- name: An envelope for Git
  confidential.azure_skr.secret_wrap:
    public_key: "{{ found.keys[0].public_key_pem }}"
    secret: "{{ database_password }}"
    name: database
    dest: files/database.jwe
  delegate_to: localhost
"""

RETURN = r"""
envelope:
  description: The envelope, as text. It is not secret.
  type: str
  returned: success, unless it would be made anew in check mode, or masking a very short O(secret) would damage it
dest:
  description: The file with the envelope.
  type: str
  returned: when O(dest) is given
public_key_sha256:
  description: SHA-256 of the DER of the public key it is for (SubjectPublicKeyInfo), in hex.
  type: str
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
        "public_key": {"type": "str", "required": True, "no_log": False},
        "secret": {"type": "str", "no_log": True},
        "secret_file": {"type": "path", "no_log": False},
        "name": {"type": "str"},
        "dest": {"type": "path"},
        "mode": {"type": "str", "default": "0644"},
        "force": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[["secret", "secret_file"]],
        required_one_of=[["secret", "secret_file"]],
        supports_check_mode=True,
    )
    names = ("public_key", "secret", "secret_file", "name", "dest", "mode", "force")

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries((arguments.CRYPTOGRAPHY,))
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import envelope_file

        wanted = envelope_file.Wanted(**{name: module.params[name] for name in names})
        return envelope_file.wrap(wanted, module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
