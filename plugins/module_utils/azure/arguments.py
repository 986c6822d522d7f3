# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument spec that every controller-side module shares, as plain data."""

from __future__ import annotations

import typing as t

from .credentials import SOURCES


def azure_argument_spec() -> t.Dict[str, t.Any]:
    """Credentials, cloud, proxy and CA; names as in azure.azcollection, which has no default in the spec that would
    hide an environment variable.
    """
    return {
        "auth_source": {"type": "str", "choices": list(SOURCES)},
        "profile": {"type": "str"},
        "subscription_id": {"type": "str"},
        "tenant": {"type": "str"},
        "client_id": {"type": "str"},
        "secret": {"type": "str", "no_log": True},
        "x509_certificate_path": {"type": "path"},
        "x509_certificate_password": {"type": "str", "no_log": True},
        "thumbprint": {"type": "str"},
        "federated_token_file": {"type": "path", "no_log": False},  # the path alone
        "ad_user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "msi_object_id": {"type": "str"},
        "msi_resource_id": {"type": "str"},
        "cloud_environment": {"type": "str"},
        "adfs_authority_url": {"type": "str"},
        "disable_instance_discovery": {"type": "bool"},
        "cert_validation_mode": {"type": "str", "choices": ["validate", "ignore"]},
        "api_profile": {"type": "str"},
        "log_mode": {"type": "str"},
        "log_path": {"type": "str"},
        "https_proxy": {"type": "str", "no_log": True},  # its URL may hold a password
        "ca_path": {"type": "path"},
    }


def network_argument_spec() -> t.Dict[str, t.Any]:
    """Who may reach a vault or managed HSM."""
    return {
        "public_network_access": {"type": "str", "choices": ["enabled", "disabled"]},
        "network_acls": {
            "type": "dict",
            "options": {
                "default_action": {"type": "str", "choices": ["allow", "deny"]},
                "bypass": {"type": "str", "choices": ["azure_services", "none"]},
                "ip_rules": {"type": "list", "elements": "str"},
                "subnet_ids": {"type": "list", "elements": "str"},
            },
        },
        "accept_weakening": {"type": "bool", "default": False},
    }


def machine_argument_spec() -> t.Dict[str, t.Any]:
    """What confidential VMs and scale sets of them are made of; see ``cvm_body.Machine``."""
    return {
        "name": {"type": "str", "required": True},
        "resource_group": {"type": "str", "required": True},
        "location": {"type": "str"},
        "size": {"type": "str", "aliases": ["vm_size"]},
        "image": {
            "type": "dict",
            "options": {part: {"type": "str"} for part in ("id", "publisher", "offer", "sku", "version")},
        },
        "admin_username": {"type": "str", "default": "azureuser"},
        # Not secret, but somebody may paste the private half.
        "ssh_public_keys": {"type": "list", "elements": "str", "default": [], "no_log": True},
        "security_encryption_type": {
            "type": "str",
            "choices": ["VMGuestStateOnly", "DiskWithVMGuestState", "NonPersistedTPM"],
        },
        "secure_boot_enabled": {"type": "bool"},
        "disk_encryption_set_id": {"type": "str"},
        "os_disk_type": {"type": "str", "default": "Premium_LRS"},
        "os_disk_size_gb": {"type": "int"},
        "system_assigned": {"type": "bool", "default": True},
        "user_assigned": {"type": "list", "elements": "str", "default": []},
        "tags": {"type": "dict"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }
