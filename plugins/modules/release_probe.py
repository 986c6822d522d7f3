#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_probe
short_description: Try whether a release is refused, without taking the key
version_added: 0.2.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Attests this VM and asks the vault for the key as M(confidential.azure_skr.key_release) does, to see whether it is refused, and why.
  - What the vault releases is dropped as it came, wrapped for this VM's TPM. It is never opened, delivered or shown.
  - The release policy is not evaluated beforehand, because only the vault's own refusal proves anything.
  - That the key is released, or refused for another reason, is a result and no failure. The module fails for options that cannot work, and
    where this VM cannot be attested.
  - A VM in somebody else's hands can answer what it likes; hold the result against what the vault's state says.
extends_documentation_fragment:
  - confidential.azure_skr.guest
  - confidential.azure_skr.guest.identity
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.guest
attributes:
  check_mode:
    support: full
    details:
      - The probe changes nothing, so it is the same in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  vault_uri:
    description:
      - Address of the vault, such as V(https://myvault.vault.azure.net). Either this or O(hsm_uri).
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net).
    type: str
  key_name:
    description:
      - Name of the key.
    type: str
    required: true
  key_version:
    description:
      - Version to ask for. By default the latest.
    type: str
  client_ids:
    description:
      - Client ids of further managed identities of this VM. Each is tried, and each must be refused.
    type: list
    elements: str
    default: []
  expected:
    description:
      - Reasons for which the vault shall refuse, such as V(permission_missing), V(key_disabled) or V(policy_not_met). Any, when empty.
    type: list
    elements: str
    default: []
  wait:
    description:
      - How long to try again until every identity is refused as expected, in seconds. A grant that was taken away is honoured for a while.
    type: float
    default: 0
seealso:
  - module: confidential.azure_skr.key_release
  - module: confidential.azure_skr.release_revocation
"""

EXAMPLES = r"""
- name: After the permission was taken away
  confidential.azure_skr.release_probe:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    attestation_url: https://sharedweu.weu.attest.azure.net
    expected: [permission_missing]
    wait: 45
  register: probed

- name: It is refused
  ansible.builtin.assert:
    that: probed.settled
    fail_msg: "{{ probed.message }}"
"""

RETURN = r"""
verdict:
  description:
    - V(released) when any identity was given the key, else V(not_asked) when any could not ask the vault, else V(refused).
  type: str
  returned: success
settled:
  description: Whether the vault refused every identity for an expected reason.
  type: bool
  returned: success
pending:
  description: Whether asking again could still end otherwise, which ends with O(wait) at the latest.
  type: bool
  returned: success
reason_found:
  description: The reason code behind RV(verdict), or V(released).
  type: str
  returned: success
message:
  description: The same in words.
  type: str
  returned: success
expected:
  description: The reasons that were expected.
  type: list
  elements: str
  returned: success
identities:
  description: C(identity), C(verdict), C(reason), C(message) and C(facts) of each identity that was tried.
  type: list
  elements: dict
  returned: success
attempts_made:
  description: How often each identity was tried.
  type: int
  returned: success
waited_s:
  description: Seconds from the first try to the last.
  type: float
  returned: success
kid:
  description: Key identifier that was asked for.
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
        **arguments.guest_argument_spec(),
        **arguments.identity_argument_spec(),
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "required": True, "no_log": False},
        "key_version": {"type": "str", "no_log": False},
        "client_ids": {"type": "list", "elements": "str", "default": []},
        "expected": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "float", "default": 0},
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
        from ansible_collections.confidential.azure_skr.plugins.module_utils.guest import probe, release

        names = ("vault_uri", "hsm_uri", "key_name", "key_version")
        wanted = release.Wanted(identity=arguments.identity(options), **{name: options[name] for name in names})
        known = probe.known_reasons(options["expected"])
        return probe.probe(arguments.guest(options), wanted, options["client_ids"], known, options["wait"])

    skin.run(module, run)


if __name__ == "__main__":
    main()
