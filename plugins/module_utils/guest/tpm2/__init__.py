# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TPM 2.0 commands as bytes: marshalling, transports, return codes and a small client (standard library only)."""

from __future__ import annotations

from .client import Tpm, open_tpm

__all__ = ["Tpm", "open_tpm"]
