# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the service manager how far this is: the protocol of sd_notify(3), a datagram to NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as ``READY=1``; whether anybody was there to be told. That it cannot be done is no failure."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            channel.sendall("\n".join(lines).encode())
        return True
    except OSError:
        return False


def alive(text: str, seconds: float) -> bool:
    """Still at work: a line for ``systemctl status``, the watchdog's ping, and so many seconds more to start in."""
    return notify(f"STATUS={text}", "WATCHDOG=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")
