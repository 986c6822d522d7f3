# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of antsibull-nox, for those who know other collections; `make test` runs the same checks and the lab."""

from __future__ import annotations

import sys

try:
    import antsibull_nox
except ImportError:
    print("antsibull-nox is missing: pip install -r requirements/test.txt")
    sys.exit(1)

import nox

antsibull_nox.load_antsibull_nox_toml()


@nox.session(name="make-test", default=False, venv_backend="none")
def make_test(session: nox.Session) -> None:
    """Everything that `make test` runs."""
    session.run("make", "test", external=True)


if __name__ == "__main__":
    nox.main()
