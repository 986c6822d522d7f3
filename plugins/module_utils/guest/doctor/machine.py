# -*- coding: utf-8 -*-
# Copyright (c) 2026, confidential.azure_skr contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that need nothing but the machine: interpreter, libraries, proxy variables, destination."""

from __future__ import annotations

import importlib
import os
import re
import sys
import typing as t
import urllib.request
from urllib.parse import urlsplit

from ..deliver import files
from ..http import proxy_variables
from . import findings
from .findings import Finding
from .patient import Wanted

PYTHON = (3, 9)
LIBRARIES = {"cryptography": (3, 4), "requests": (2, 25)}
METADATA = "169.254.169.254"


def python() -> t.List[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    text = f"Python {version} at {sys.executable}"
    if sys.version_info[:2] < PYTHON:
        return [findings.found("failed", "python", "python_old", f"{text}.", version=version)]
    return [findings.ok("python", f"{text}.", version=version, interpreter=sys.executable)]


def libraries() -> t.List[Finding]:
    """Each library by itself: the checks that need one that is missing are skipped."""
    made, versions = [], {}
    for name, least in LIBRARIES.items():
        wanted = ".".join(map(str, least))
        try:
            version = str(getattr(importlib.import_module(name), "__version__", ""))
        except ImportError:
            text = f"The package {name} is not installed for {sys.executable}, wanted {wanted} or later."
            made.append(findings.found("failed", "libraries", "library_missing", text, name, package=name))
            continue
        versions[name] = version
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if numbers < least:
            text = f"{name} is {version}, wanted {wanted} or later."
            made.append(findings.found("failed", "libraries", "library_old", text, name, package=name, version=version))
    if not made:
        text = ", ".join(f"{name} {version}" for name, version in versions.items())
        made.append(findings.ok("libraries", f"{text}.", **versions))
    return made


def proxies(wanted: Wanted) -> t.List[Finding]:
    """Names of variables only: their values may hold passwords."""
    names = proxy_variables()
    option = urlsplit(wanted.guest.https_proxy or "")
    used = (
        f" The option https_proxy ({option.hostname}:{option.port or 80}) goes before them." if option.hostname else ""
    )
    facts: t.Dict[str, t.Any] = {"variables": names, "option": option.hostname}
    to = [name for name in names if name.lower() != "no_proxy"]
    if not to:
        return [
            findings.ok(
                "proxies", f"No proxy variable is set.{used and f' https_proxy is {option.hostname}.'}", **facts
            )
        ]
    text = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set; the metadata service is asked directly."
    if urllib.request.proxy_bypass(METADATA):
        return [findings.ok("proxies", f"{text} It is excepted for other programs too.{used}", **facts)]
    text += f" {METADATA} is not excepted, so other programs ask the proxy for it.{used}"
    return [findings.found("info", "proxies", "proxy_variables", text, **facts)]


def destination(wanted: Wanted) -> t.List[Finding]:
    if not wanted.dest:
        return [findings.skipped("destination", "dest is not given.")]
    if not os.path.isabs(wanted.dest):
        text = f"dest is {wanted.dest!r}, wanted an absolute path."
        return [findings.found("failed", "destination", "invalid_input", text, wanted.dest, option="dest")]
    folder = os.path.realpath(os.path.dirname(wanted.dest))
    kind, mount = files.file_system(folder)
    facts: t.Dict[str, t.Any] = {"mount": mount, "file_system": kind}
    if kind not in files.MEMORY:
        text = f"{wanted.dest} is on {mount} ({kind}), wanted tmpfs or ramfs."
        return [findings.found("failed", "destination", "not_memory_backed", text, wanted.dest, **facts)]
    return [findings.ok("destination", f"{wanted.dest} is on {mount} ({kind}).", wanted.dest, **facts)]
