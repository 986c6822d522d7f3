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
