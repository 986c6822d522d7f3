# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that stand in front of real ones, or in their place: they write down what of their process others can see."""

from __future__ import annotations

import shutil
import typing as t
from pathlib import Path

SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SPY = """\
#!/bin/sh
n=0
while ! mkdir {seen}/$n 2>/dev/null; do n=$((n + 1)); done
cat /proc/$$/cmdline >{seen}/$n/cmdline
cat /proc/$$/environ >{seen}/$n/environ
"""


def found(name: str) -> t.Optional[str]:
    return shutil.which(name, path=SYSTEM)


class Programs:
    """A folder to be first on the search path."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder / "bin", folder / "seen"
        self.folder.mkdir()
        self.seen.mkdir()

    def spy(self, name: str, before: str = "") -> None:
        """The real program, watched. ``before`` is shell text that may end it."""
        self.write(name, f'{before}\nexec {found(name)} "$@"\n')

    def write(self, name: str, text: str) -> str:
        """A program of shell text, watched too."""
        path = self.folder / name
        path.write_text(_SPY.format(seen=self.seen) + text)
        path.chmod(0o755)
        return str(path)

    def lines(self) -> t.List[t.List[str]]:
        """The command lines, without the shell and its script, in order."""
        count = len(list(self.seen.iterdir()))
        texts = [(self.seen / str(number) / "cmdline").read_bytes() for number in range(count)]
        return [text.decode().rstrip("\0").split("\0")[2:] for text in texts]

    def shown(self) -> bytes:
        """All that other processes could have seen."""
        return b"".join(path.read_bytes() for path in sorted(self.seen.rglob("*")) if path.is_file())
