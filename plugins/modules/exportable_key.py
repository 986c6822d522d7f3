#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: exportable_key
short_description: Manage an exportable HSM key and its release policy
version_added: 0.1.0
author:
  - confidential.azure_skr contributors (@confidential-azure)
description:
  - Makes an exportable HSM key with a release policy, or brings attributes and policy of an existing one to what is wanted.
  - Policies are compared by meaning; what the vault re-serialises is no difference.
extends_documentation_fragment:
  - confidential.azure_skr.azure
  - confidential.azure_skr.attributes
  - confidential.azure_skr.attributes.azure
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(rotate=true) and without O(rotate_if_older_than) every run makes a new version.
options:
  vault_uri:
    description:
      - Address of the vault, such as V(https://myvault.vault.azure.net). Either this or O(hsm_uri).
    type: str
  hsm_uri:
    description:
      - Address of the managed HSM, such as V(https://myhsm.managedhsm.azure.net). The caller needs local roles there, Managed HSM
        Crypto User for keys and Managed HSM Crypto Officer to recover or purge them.
    type: str
    version_added: 0.2.0
  key_name:
    description:
      - Name of the key.
    type: str
    required: true
  key_type:
    description:
      - Kind of key. It cannot be changed. Only managed HSMs have V(oct-HSM).
    type: str
    choices: [RSA-HSM, EC-HSM, oct-HSM]
    default: RSA-HSM
  key_size:
    description:
      - Size in bits; of an RSA key 2048, 3072 (the default) or 4096, of an oct key 128, 192 or 256 (the default). It cannot be
        changed. The service does not tell the size of an oct key, so it is not compared.
    type: int
  curve:
    description:
      - Curve of an EC key. A new key has P-256 by default. It cannot be changed.
    type: str
    choices: [P-256, P-256K, P-384, P-521]
  key_ops:
    description:
      - Permitted key operations. Release is a permission and none of these.
    type: list
    elements: str
    choices: [encrypt, decrypt, sign, verify, wrapKey, unwrapKey]
  key_version:
    description:
      - The version whose O(enabled), O(not_before), O(expires_on), O(key_ops) and O(tags) are meant; the latest by default. The
        release policy belongs to the key and all its versions.
    type: str
    version_added: 0.2.0
  import_file:
    description:
      - File on the controller with the private key to import, in PEM; of an oct key its bytes. Without it the service makes the key.
      - Of a key that is there the public halves are compared. An oct key has none, and counts as the same.
    type: path
    version_added: 0.2.0
  import_material:
    description:
      - The private key itself, in PEM, or the bytes of an oct key in base64; for material from a vault or lookup. Never shown.
    type: str
    version_added: 0.2.0
  import_passphrase:
    description:
      - What opens the PEM.
    type: str
    version_added: 0.2.0
  import_replace:
    description:
      - Import other material than that of the latest version as a new version. An oct key is then imported on every run.
    type: bool
    default: false
    version_added: 0.2.0
  release_policy:
    description:
      - The key release policy as a dictionary. Required when the key is made.
    type: dict
  release_policy_file:
    description:
      - File on the controller with the key release policy in JSON.
    type: path
  accepted_findings:
    description:
      - Findings of the lint that are accepted, by code, each with its justification in words. They and their justification stand
        in the result (RV(lint)).
    version_added: 0.2.0
    type: dict
    default: {}
  lint_fail_on:
    description:
      - From which severity of a finding on O(release_policy) the module refuses, before anything is changed.
    version_added: 0.2.0
    type: str
    choices: [error, warning, info, never]
    default: error
  immutable:
    description:
      - Make the release policy immutable. B(This can never be undone.) Needs O(confirm_immutable) as well.
    version_added: 0.2.0
    type: bool
  confirm_immutable:
    description:
      - The second word for O(immutable).
    version_added: 0.2.0
    type: bool
    default: false
  enabled:
    description:
      - Whether the latest version is enabled. A disabled version is not released.
    type: bool
  not_before:
    description:
      - Time before which the key shall not be used, such as V(2027-01-31T12:00:00Z). The service releases it all the same.
    type: str
  expires_on:
    description:
      - Time after which the key shall not be used. The service releases it all the same.
    type: str
  tags:
    description:
      - Tags of the latest version. They replace the tags it has; V({}) removes all.
    type: dict
  rotate:
    description:
      - Make a new version now. It inherits attributes and policy.
    type: bool
    default: false
  rotate_if_older_than:
    description:
      - With O(rotate=true), make a new version only when the newest one is disabled or at least so old. Seconds, or an ISO 8601
        duration such as V(PT1H) or V(P30D), by the clock of the controller.
      - A second run, or one at the same time, then goes on with the version that the first one made. The service cannot make a
        version under a condition, so two runs within the same second may make two; both return the newer one.
    type: str
    version_added: 0.2.0
  rotation_policy:
    description:
      - When the vault makes new versions by itself, and how long versions are valid. It replaces the whole rotation policy; V({})
        removes it. Not the release policy.
    type: dict
    version_added: 0.2.0
    suboptions:
      rotate_after_create:
        description:
          - Age at which a new version is made, an ISO 8601 duration such as V(P18M).
        type: str
      rotate_before_expiry:
        description:
          - Time before the expiry at which a new version is made.
        type: str
      notify_before_expiry:
        description:
          - Time before the expiry at which Azure sends an event.
        type: str
      expires_in:
        description:
          - Validity of new versions. The service releases expired keys all the same.
        type: str
  state:
    description:
      - V(stopped) ends every further release in one action. It disables all enabled versions, or O(key_version) alone, and narrows the
        policy if O(release_policy) is given. Keys that were released before cannot be called back.
      - V(absent) deletes the key with all its versions; it can be recovered until its purge date. V(purged) also purges it, for ever.
    type: str
    choices: [present, stopped, absent, purged]
    default: present
    version_added: 0.2.0
  deleted_action:
    description:
      - What to do when the name is held by a soft-deleted key.
    type: str
    choices: [fail, recover, purge]
    default: fail
seealso:
  - plugin: confidential.azure_skr.release_policy
    plugin_type: filter
  - plugin: confidential.azure_skr.policy_lint
    plugin_type: filter
  - name: Secure Key Release with Azure Key Vault
    description: The feature as Microsoft documents it.
    link: https://learn.microsoft.com/azure/confidential-computing/concept-skr-attestation
  - name: Key release policy grammar
    description: The grammar as Microsoft documents it.
    link: https://learn.microsoft.com/azure/key-vault/keys/policy-grammar
  - module: confidential.azure_skr.release_access
"""

EXAMPLES = r"""
- name: A key for compliant SNP VMs attested in West Europe
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    key_type: RSA-HSM
    key_size: 3072
    release_policy:
      version: 1.0.0
      anyOf:
        - authority: https://sharedweu.weu.attest.azure.net
          allOf:
            - claim: x-ms-isolation-tee.x-ms-attestation-type
              equals: sevsnpvm
            - claim: x-ms-isolation-tee.x-ms-compliance-status
              equals: azure-compliant-cvm
            - claim: x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable
              equals: false
    accepted_findings:
      satisfied_by_any_tenant: The release permission is granted to our own VMs alone.

- name: A key bound to two VMs, its policy built from named parameters
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    release_policy: "{{ parameters | confidential.azure_skr.release_policy }}"
  vars:
    parameters:
      authority: https://sharedweu.weu.attest.azure.net
      tee_type: sevsnpvm
      vm_unique_ids:
        - 0f3b1a52-6c1c-4d8b-9b6e-0a1b2c3d4e5f
        - 1a2b3c4d-5e6f-4a5b-8c7d-9e0f1a2b3c4d

- name: No version of this key is released any more
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    state: stopped

- name: Disable one old version
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    key_version: 0123456789abcdef0123456789abcdef
    enabled: false

- name: A symmetric key in a managed HSM
  confidential.azure_skr.exportable_key:
    hsm_uri: https://hsm-web-prod.managedhsm.azure.net
    key_name: data-key
    key_type: oct-HSM
    release_policy: "{{ policy }}"

- name: A key that was made elsewhere
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: legacy-key
    key_size: 4096
    import_file: /run/keys/legacy.pem
    release_policy: "{{ policy }}"

- name: A new version every year
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    rotation_policy:
      rotate_after_create: P1Y

- name: A new version with the same policy
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    rotate: true

- name: A new version with the same policy, unless there is one of the last hour
  confidential.azure_skr.exportable_key:
    vault_uri: https://kv-web-prod.vault.azure.net
    key_name: tls-key
    rotate: true
    rotate_if_older_than: PT1H
"""

RETURN = r"""
kid:
  description: Key identifier of the latest version.
  type: str
  returned: when the key exists
key_version:
  description: The latest version.
  type: str
  returned: when the key exists
key:
  description: Type, attributes and decoded release policy.
  type: dict
  returned: when the key exists
rotation_policy:
  description: The rotation policy; C(after_create), C(before_expiry), C(notify_before_expiry), C(expires_in).
  type: dict
  returned: when O(rotation_policy) is given
versions:
  description: All versions, newest first.
  type: list
  elements: dict
  returned: when the key exists
stopped_versions:
  description: Versions that were enabled and are disabled now.
  type: list
  elements: str
  returned: when O(state=stopped)
lint:
  description:
    - Findings on O(release_policy); C(code), C(severity), C(path) in the policy, C(message), C(accepted) and C(justification).
  type: list
  elements: dict
  returned: success
public_key_pem:
  description: The public half.
  type: str
  returned: when the key exists
public_key_sha256:
  description: SHA-256 of the DER of the public half (SubjectPublicKeyInfo), in hex.
  type: str
  returned: when the key exists
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

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential.azure_skr.plugins.module_utils import skin
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure import (
    key,
    key_import,
    key_policy,
    key_removal,
    key_rotation,
    key_stop,
    key_target,
)
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.arguments import azure_argument_spec
from ansible_collections.confidential.azure_skr.plugins.module_utils.azure.clients import connection
from ansible_collections.confidential.azure_skr.plugins.module_utils.policy.failure import SkrFailure


def policy_from(options: t.Mapping[str, t.Any]) -> t.Any:
    """The release policy of the two options that can hold it."""
    path = options["release_policy_file"]
    if path is None:
        return options["release_policy"]
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise SkrFailure(
            "invalid_input",
            f"release_policy_file is {path!r}, wanted a readable JSON file.",
            {"option": "release_policy_file"},
        ) from error


def main() -> None:
    spec = {
        **azure_argument_spec(),
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "required": True, "no_log": False},
        "key_type": {"type": "str", "choices": ["RSA-HSM", "EC-HSM", "oct-HSM"], "default": "RSA-HSM", "no_log": False},
        "key_size": {"type": "int", "no_log": False},
        "curve": {"type": "str", "choices": ["P-256", "P-256K", "P-384", "P-521"]},
        "key_ops": {
            "type": "list",
            "elements": "str",
            "choices": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
            "no_log": False,
        },
        "key_version": {"type": "str", "no_log": False},
        "import_file": {"type": "path"},
        "import_material": {"type": "str", "no_log": True},
        "import_passphrase": {"type": "str", "no_log": True},
        "import_replace": {"type": "bool", "default": False},
        "release_policy": {"type": "dict"},
        "release_policy_file": {"type": "path"},
        "accepted_findings": {"type": "dict", "default": {}},
        "lint_fail_on": {"type": "str", "choices": ["error", "warning", "info", "never"], "default": "error"},
        "immutable": {"type": "bool"},
        "confirm_immutable": {"type": "bool", "default": False},
        "enabled": {"type": "bool"},
        "not_before": {"type": "str"},
        "expires_on": {"type": "str"},
        "tags": {"type": "dict"},
        "rotate": {"type": "bool", "default": False},
        "rotate_if_older_than": {"type": "str"},
        "rotation_policy": {
            "type": "dict",
            "options": {
                name: {"type": "str"}
                for name in ("rotate_after_create", "rotate_before_expiry", "notify_before_expiry", "expires_in")
            },
        },
        "state": {"type": "str", "choices": ["present", "stopped", "absent", "purged"], "default": "present"},
        "deleted_action": {"type": "str", "choices": ["fail", "recover", "purge"], "default": "fail"},
    }
    module = AnsibleModule(
        argument_spec=spec,
        mutually_exclusive=[
            ["release_policy", "release_policy_file"],
            ["vault_uri", "hsm_uri"],
            ["import_file", "import_material"],
        ],
        required_one_of=[["vault_uri", "hsm_uri"]],
        supports_check_mode=True,
    )
    options = module.params

    def run() -> t.Dict[str, t.Any]:
        names = ("key_type", "key_size", "curve", "enabled", "tags", "rotate", "deleted_action", "immutable")
        at = key_target.target(options["vault_uri"], options["hsm_uri"], options["key_name"])
        wanted = key.Wanted(
            at=at,
            release_policy=policy_from(options),
            key_ops=tuple(options["key_ops"]) if options["key_ops"] is not None else None,
            not_before=key.parse_time("not_before", options["not_before"]),
            expires_on=key.parse_time("expires_on", options["expires_on"]),
            confirm_immutable=options["confirm_immutable"],
            rotation=key_rotation.read(options["rotation_policy"]),
            rotate_if_older_than=key_rotation.read_age("rotate_if_older_than", options["rotate_if_older_than"]),
            lint=key_policy.Lint(options["lint_fail_on"], options["accepted_findings"]),
            version=key_target.check_version(options["key_version"]),
            material=key_import.read(options),
            **{name: options[name] for name in names},
        )
        with connection(options) as azure:
            if options["state"] == "present":
                return key.ensure(azure, wanted, module.check_mode)
            if options["state"] == "stopped":
                return key_stop.ensure(azure, wanted, module.check_mode)
            return key_removal.ensure(azure, at, options["state"] == "purged", module.check_mode)

    skin.run(module, run)


if __name__ == "__main__":
    main()
