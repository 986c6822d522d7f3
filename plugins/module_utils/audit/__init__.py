# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evidence for an auditor: collected records, one signed bundle, its verification off line.

Standard library and cryptography; knows neither Ansible nor Azure, so that an auditor's machine needs neither.
"""
