# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment of the modules that release a key: which one, and how."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
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
  start_delay:
    description:
      - Seconds to wait before anybody is asked, at most 3600. With it a fleet keeps within the requests that a vault answers.
    type: float
    default: 0
    version_added: 0.2.0
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
  evidence_dir:
    description:
      - Folder on the VM where evidence of every try is kept, allowed or refused; one JSON file each, for its owner alone. The newest 100 of each
        outcome are kept. Without it nothing is kept, and in check mode nothing is.
      - A record holds no secret. It holds the attestation token, so that others can check the claims later; the token is no credential, see
        docs/evidence.md.
      - That a record cannot be written is a warning and costs no release.
    type: path
    version_added: 0.3.0
"""
