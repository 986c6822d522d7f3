# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the guest modules as plain data, and how the options become settings.

Nothing here needs a library at import, so that a module can say which one its interpreter lacks.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import typing as t

from ..policy.failure import SkrFailure

if t.TYPE_CHECKING:
    from .attest import Guest
    from .doctor.patient import Wanted as Patient
    from .release import Wanted
    from .sign_in import Source


CRYPTOGRAPHY = "cryptography.hazmat.primitives"


def require_libraries(packages: t.Sequence[str] = (CRYPTOGRAPHY, "requests")) -> None:
    """Raises SkrFailure ``library_missing`` with the package and the interpreter that lacks it.

    requests is only looked for: its import takes as long as a release, many of which do without it.
    """
    for package in packages:
        name = package.partition(".")[0]
        try:
            if name != "requests":
                importlib.import_module(package)
            elif importlib.util.find_spec(name) is None:
                raise ImportError(name=name)
        except ImportError as error:
            raise SkrFailure(
                "library_missing",
                f"The Python package {name} is not installed for {sys.executable}.",
                {"package": name, "interpreter": sys.executable},
            ) from error


def guest_argument_spec() -> t.Dict[str, t.Any]:
    """Options of every module that runs on the VM."""
    return {
        "attestation_url": {"type": "str", "required": True},
        "tpm_device": {"type": "str", "default": "/dev/tpmrm0"},
        "tpm_timeout": {"type": "float", "default": 15.0},
        "imds_endpoint": {"type": "str", "default": "http://169.254.169.254"},
        "https_proxy": {"type": "str", "no_log": True},  # its URL may hold a password
        "ca_path": {"type": "path"},
        "report_roots_path": {"type": "path"},
        "event_log_path": {"type": "path", "default": "/sys/kernel/security/tpm0/binary_bios_measurements"},
        "cache_dir": {"type": "path", "default": "/run/azure-skr"},
        "require_tee": {"type": "str", "choices": ["any", "confidential", "snp", "tdx"], "default": "any"},
        "pcrs": {"type": "list", "elements": "int", "default": list(range(8))},
        "renew_ak_certificate": {"type": "str", "choices": ["never", "when_due"], "default": "never"},
    }


def identity_argument_spec() -> t.Dict[str, t.Any]:
    """Options that choose among several identities of the VM, or an application to sign in as."""
    return {
        "identity_source": {
            "type": "str",
            "choices": ["managed", "service_principal", "workload_identity"],
            "default": "managed",
        },
        "identity_client_id": {"type": "str"},
        "identity_object_id": {"type": "str"},
        "identity_resource_id": {"type": "str"},
        "known_client_ids": {"type": "list", "elements": "str", "default": []},
        "tenant": {"type": "str"},
        "client_id": {"type": "str"},
        # Names of files are no secrets; what is in them never becomes an option.
        "client_secret_file": {"type": "path", "no_log": False},
        "client_certificate_file": {"type": "path"},
        "federated_token_file": {"type": "path", "no_log": False},
        "authority_host": {"type": "str"},
    }


def release_argument_spec() -> t.Dict[str, t.Any]:
    """Options that name the key and say how it is released."""
    return {
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
        "start_delay": {"type": "float", "default": 0},
        "outside_validity": {"type": "str", "choices": ["refuse", "warn", "accept"], "default": "refuse"},
        "expiry_warning_days": {"type": "int", "default": 30},
        "evidence_dir": {"type": "path"},
    }


RELEASE_EXCLUSIVE = [["vault_uri", "hsm_uri"]]


def delivery_argument_spec() -> t.Dict[str, t.Any]:
    """Options that say where a secret goes. Those without a default are for some consumers only."""
    return {
        "deliver_to": {
            "type": "str",
            "choices": ["file", "keyring", "systemd_credential", "luks", "command"],
            "default": "file",
        },
        "format": {
            "type": "str",
            "choices": ["auto", "pem_pkcs8", "pem_pkcs1", "der", "jwk", "raw", "base64"],
            "default": "auto",
        },
        "dest": {"type": "path"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str", "default": "0400"},
        "memory_backed": {"type": "bool", "default": True},
        "keyring": {"type": "str", "choices": ["user", "session", "persistent"], "no_log": False},
        "keyring_description": {"type": "str", "no_log": False},
        "keyring_permissions": {"type": "str", "no_log": False},
        "credential_name": {"type": "str", "no_log": False},
        "credential_store": {"type": "path", "no_log": False},
        "credential_encryption": {"type": "str", "choices": ["none", "auto", "host", "tpm2"], "no_log": False},
        "luks_device": {"type": "path"},
        "luks_header": {"type": "path"},
        "luks_slot": {"type": "int"},
        "luks_replace": {"type": "bool", "default": False},
        "luks_existing_key_file": {"type": "path", "no_log": False},
        "luks_existing_keyring": {"type": "str", "no_log": False},
        "luks_name": {"type": "str"},
        "command": {"type": "list", "elements": "str"},
        "command_timeout": {"type": "float"},
        "fingerprint_file": {"type": "path"},
        "ttl": {"type": "int"},
        "remove_on_stop": {"type": "bool", "default": False},
    }


def secret_argument_spec() -> t.Dict[str, t.Any]:
    """Suboptions of one application secret."""
    return {
        "envelope": {"type": "raw"},
        "envelope_file": {"type": "path"},
        "name": {"type": "str"},
        **delivery_argument_spec(),
    }


def doctor_argument_spec() -> t.Dict[str, t.Any]:
    """Options of the doctor, as module and as command: a release's, none of which is required."""
    return {
        **guest_argument_spec(),
        **identity_argument_spec(),
        "attestation_url": {"type": "str"},
        "tpm_timeout": {"type": "float", "default": 5.0},
        "vault_uri": {"type": "str"},
        "hsm_uri": {"type": "str"},
        "key_name": {"type": "str", "no_log": False},
        "key_version": {"type": "str", "no_log": False},
        "dest": {"type": "path"},
    }


IDENTITY_EXCLUSIVE = [
    ["identity_client_id", "identity_object_id", "identity_resource_id"],
    ["client_secret_file", "client_certificate_file", "federated_token_file"],
]


def guest(options: t.Mapping[str, t.Any]) -> Guest:
    """Settings from a module's options. Imported here: a missing library must not keep the module from saying so."""
    from .attest import Guest

    given = {name: options[name] for name in guest_argument_spec()}
    return Guest(**{**given, "pcrs": tuple(given["pcrs"])})


def wanted(options: t.Mapping[str, t.Any], **more: t.Any) -> Wanted:
    """What is to be released, from a module's options; ``more`` are members of its own, such as the target."""
    from .release import Wanted

    return Wanted(identity=identity(options), **{name: options[name] for name in release_argument_spec()}, **more)


def identity(options: t.Mapping[str, t.Any]) -> Source:
    """Who asks for the access token. Raises SkrFailure ``invalid_input``."""
    from . import sign_in
    from .imds import Identity

    managed = Identity(
        options["identity_client_id"],
        options["identity_object_id"],
        options["identity_resource_id"],
        tuple(options["known_client_ids"]),
    )
    return sign_in.choose(options, os.environ, managed)


def patient(options: t.Mapping[str, t.Any]) -> Patient:
    """What the doctor is to examine. An identity that cannot be used is one of its findings."""
    from .attest import Guest
    from .doctor.patient import Wanted

    names = [name for name in guest_argument_spec() if name != "attestation_url"]
    made = Guest(options["attestation_url"] or "", **{name: options[name] for name in names})
    targets = ("vault_uri", "hsm_uri", "key_name", "key_version", "dest")
    return Wanted(made, lambda: identity(options), **{name: options[name] for name in targets})
