# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports from a zip such as Ansible sends."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

from ansible_collections.confidential.azure_skr.plugins.module_utils import once

PACKAGE = "ansible_collections.confidential.azure_skr.plugins.module_utils"
SCRIPT = """
import json, sys, zipimport
sys.path.insert(0, sys.argv[1])
compiled = []
usual = zipimport._compile_source
zipimport._compile_source = lambda path, source: compiled.append(path) or usual(path, source)
from {package} import once
once.install()
once.install()
before = len(compiled)
from {package}.room import inner
from {package} import room
print(json.dumps([before, len(compiled), inner.ANSWER, inner.__file__, room.__path__, sum(type(one).__name__ == "_Finder" for one in sys.meta_path)]))
try:
    from {package} import missing
except ImportError as error:
    print(json.dumps(str(error)))
"""


def test_each_file_is_compiled_once(tmp_path: Path) -> None:
    archive, place = tmp_path / "payload.zip", PACKAGE.replace(".", "/")
    with zipfile.ZipFile(archive, "w") as target:
        for depth in range(1, PACKAGE.count(".") + 2):
            target.writestr("/".join(place.split("/")[:depth]) + "/__init__.py", "")
        target.writestr(f"{place}/once.py", Path(once.__file__).read_bytes())
        target.writestr(f"{place}/room/__init__.py", "")
        target.writestr(f"{place}/room/inner.py", "from .other import ANSWER\n")
        target.writestr(f"{place}/room/other.py", "ANSWER = 42\n")
    script = SCRIPT.replace("{package}", PACKAGE)
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(archive)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    before, after, answer, file, path, finders = json.loads(first)
    assert before == after and answer == 42  # Python's importer compiled none of these
    assert file == f"{archive}/{place}/room/inner.py" and path == [f"{archive}/{place}/room"]
    assert finders == 1
    assert "missing" in second


def test_outside_of_a_zip_nothing_changes() -> None:
    before = list(sys.meta_path)
    once.install()
    assert sys.meta_path == before
