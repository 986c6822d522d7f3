#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: key_removal
short_description: Remove a delivered key from this machine
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Takes away what M(confidential.azure_skr.key_release) or M(confidential.azure_skr.secret_unwrap) delivered; nothing happens where it is
    gone already. Give the options of the delivery that name the place; no vault, no TPM and no network is needed.
  - A file or credential is overwritten with zeros and unlinked. A key in a keyring is revoked, which ends it for everybody who holds it,
    and unlinked. A LUKS slot is removed when another one stays; an open volume stays open.
  - What a command did with a key nobody else knows; here only the note goes, by which it is not run again.
  - A copy that somebody made of a released key cannot be recalled. To end further releases disable the key or take the grant away.
extends_documentation_fragment:
  - confidential.azure_skr.delivery
  - confidential.azure_skr.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the place, never the key.
  idempotent:
    support: full
options: {}
seealso:
  - module: confidential.azure_skr.key_release
  - module: confidential.azure_skr.exportable_key
  - module: confidential.azure_skr.release_access
"""

EXAMPLES = r"""
- name: The key file is gone
  confidential.azure_skr.key_removal:
    dest: /run/web/tls.pem

- name: The key in the user's keyring is gone
  confidential.azure_skr.key_removal:
    deliver_to: keyring
    keyring_description: app:signing
    owner: app

- name: The volume does not open with the released key any more
  confidential.azure_skr.key_removal:
    deliver_to: luks
    luks_device: /dev/disk/azure/scsi1/lun0
    luks_slot: 1
"""

RETURN = r"""
removed:
  description: Public facts of the place, such as C(deliver_to), C(dest) or C(keyring_description).
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
    module = AnsibleModule(argument_spec=arguments.delivery_argument_spec(), supports_check_mode=True)

    def run() -> t.Dict[str, t.Any]:
        arguments.require_libraries()
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import deliver

        place = deliver.check(deliver.target(module.params), removal=True)
        changed, diff = place.remove(module.check_mode)
        return {"changed": changed, "diff": diff, "removed": place.facts()}

    skin.run(module, run)


if __name__ == "__main__":
    main()
