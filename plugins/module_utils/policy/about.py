# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which collection this is, for evidence and for whoever reads it; the version is that of ``galaxy.yml``."""

from __future__ import annotations

COLLECTION = "confidential.azure_skr"
VERSION = "0.2.0"
