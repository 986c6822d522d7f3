# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs pip where ansible-test expects a downloaded bootstrap script: ensurepip, then pip with the given arguments."""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys

environment = dict(os.environ)  # ensurepip switches pip's configuration off for the whole process
ensurepip.bootstrap(upgrade=True)
# Options of the downloaded script that pip itself does not know.
arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=environment))
