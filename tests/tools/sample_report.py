# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the evidence report of a made-up fleet, for the documentation and to look at.

Usage: sample_report.py PATH [HOSTS [ALTERED]]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".collections"), str(ROOT / "tests")]

from unit.audit import samples  # noqa: E402

from ansible_collections.confidential.azure_skr.plugins.module_utils.audit import report  # noqa: E402


def main(path: str, hosts: str = "20", altered: str = "0") -> None:
    made = samples.bundle(int(hosts))
    Path(path).write_bytes(report.html(made, samples.findings(made, int(altered))).encode("utf-8"))


if __name__ == "__main__":
    main(*sys.argv[1:4])
