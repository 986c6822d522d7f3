# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs of the guest modules as plain data, and how the options become settings.

Nothing here needs a library at import, so that a module can say which one its interpreter lacks.
"""

from __future__ import annotations

import importlib
import sys
import typing as t

from ..policy.failure import SkrFailure

if t.TYPE_CHECKING:
    from .attest import Guest
    from .imds import Identity


def require_libraries() -> None:
    """Raises SkrFailure ``library_missing`` with the package and the interpreter that lacks it."""
    for package in ("cryptography.hazmat.primitives", "requests"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            name = package.partition(".")[0]
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
    """Options that choose among several identities of the VM; mutually exclusive."""
    return {
        "identity_client_id": {"type": "str"},
        "identity_object_id": {"type": "str"},
        "identity_resource_id": {"type": "str"},
        "known_client_ids": {"type": "list", "elements": "str", "default": []},
    }


IDENTITY_EXCLUSIVE = [["identity_client_id", "identity_object_id", "identity_resource_id"]]


def guest(options: t.Mapping[str, t.Any]) -> Guest:
    """Settings from a module's options. Imported here: a missing library must not keep the module from saying so."""
    from .attest import Guest

    given = {name: options[name] for name in guest_argument_spec()}
    return Guest(**{**given, "pcrs": tuple(given["pcrs"])})


def identity(options: t.Mapping[str, t.Any]) -> Identity:
    from .imds import Identity

    return Identity(
        options["identity_client_id"],
        options["identity_object_id"],
        options["identity_resource_id"],
        tuple(options["known_client_ids"]),
    )
