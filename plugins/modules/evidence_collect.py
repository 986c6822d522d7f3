#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_collect
short_description: Gather a VM's evidence of releases into one file
version_added: 0.3.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Writes the records that M(confidential.azure_skr.key_release), M(confidential.azure_skr.secret_unwrap) and the guest agent kept, and the agent's
    status and metrics, into one compressed file in a new private folder of the login user, for C(ansible.builtin.fetch) to move. Role C(evidence) does
    it all.
  - What is in the records is in no result of this module, and so in no job output. Fetch with C(become=false); with C(become=true) Ansible
    moves files through task results.
  - Needs neither TPM nor network.
extends_documentation_fragment:
  - confidential.azure_skr.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - The file is made anew each time, because it is moved away.
options:
  evidence_dir:
    description:
      - Folder of the records.
    type: path
    default: /var/lib/azure-skr/evidence
  state_dir:
    description:
      - Folder of the agent's status.
    type: path
    default: /run/azure-skr/status
  since:
    description:
      - Leave out what is older, a time such as V(2026-11-25T00:00:00Z) or a date such as V(2026-11-25). By default all that is there is gathered.
    type: str
  host:
    description:
      - Name of the host in the inventory, for RV(file_name).
    type: str
    required: true
  reader:
    description:
      - The login user, by name or number, who may read the file. By default the one who became root by C(sudo), C(doas) or C(pkexec), else the one who
        runs this.
    type: str
seealso:
  - module: confidential.azure_skr.evidence_bundle
"""

EXAMPLES = r"""
- name: Gather
  confidential.azure_skr.evidence_collect:
    host: "{{ inventory_hostname }}"
    since: "2026-11-01"
  register: collected
  become: true

- name: Move to the controller
  ansible.builtin.fetch:
    src: "{{ collected.path }}"
    dest: "/srv/audit/collected/{{ collected.file_name }}"
    flat: true
  become: false

- name: Take away
  ansible.builtin.file:
    path: "{{ collected.folder }}"
    state: absent
  become: false
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success, not in check mode
folder:
  description: The new folder it is in, which is to be removed with it.
  type: str
  returned: success, not in check mode
file_name:
  description: The name under which M(confidential.azure_skr.evidence_bundle) looks for it.
  type: str
  returned: success
records:
  description: How many records there are.
  type: int
  returned: success
instances:
  description: State of each of the agent's instances, such as V(ok), V(failed) or V(stale).
  type: dict
  returned: success
problems:
  description: What could not be read, in words. It is told in the bundle, too.
  type: list
  elements: str
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
from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import config, record


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "evidence_dir": {"type": "path", "default": record.DEFAULT_FOLDER},
            "state_dir": {"type": "path", "default": config.STATE_DIR},
            "since": {"type": "str"},
            "host": {"type": "str", "required": True},
            "reader": {"type": "str"},
        },
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import collect

        since = collect.since(options["since"])
        found = collect.collect(options["evidence_dir"], options["state_dir"], since)
        return collect.hand_over(found, options["host"], options["reader"], module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
