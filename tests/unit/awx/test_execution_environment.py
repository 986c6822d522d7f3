# SPDX-License-Identifier: GPL-3.0-or-later
"""The build context of the execution environment: what ansible-builder makes of it, up to where a container engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import labkit
import pytest
import yaml

ROOT = labkit.ROOT


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ee") / "context"
    command = ["ansible-builder", "create", "--file", str(ROOT / "execution-environment.yml"), "--context", str(folder)]
    command += ["--output-filename", "Containerfile"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=labkit.environment(), cwd=folder.parent, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No matches" not in done.stdout + done.stderr  # a file that the definition names is missing
    return folder


def test_the_steps(context: Path) -> None:
    steps = (context / "Containerfile").read_text()
    assert "FROM $EE_BASE_IMAGE AS base" in steps and 'ARG PYCMD="/usr/bin/python3.11"' in steps
    assert "ansible-core>=2.19,<2.20 ansible-runner>=2.4,<3" in steps
    assert "ansible-galaxy collection install" in steps and "introspect" in steps
    assert "USER 1000" in steps
    assert "openssh-clients [platform:rpm]" in (context / "_build/bindep.txt").read_text()


@pytest.fixture(scope="module")
def installed(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as the image's build installs it: by the context's requirements, from the context's files alone."""
    folder = tmp_path_factory.mktemp("galaxy")
    text = (context / "_build/requirements.yml").read_text()
    assert "/build/collection" in text
    # In the image the context's _build is /build.
    (folder / "requirements.yml").write_text(text.replace("/build/", f"{context / '_build'}/"))
    command = [
        "ansible-galaxy",
        "collection",
        "install",
        "-r",
        "requirements.yml",
        "-p",
        str(folder),
        "--offline",
        "--force",
    ]
    environment = labkit.environment() | {"ANSIBLE_COLLECTIONS_PATH": str(folder), "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_collection_in_the_image_is_whole(installed: Path) -> None:
    """Every module, playbook and role of the checkout, and nothing of its tests."""
    made = installed / "ansible_collections/confidential/azure_skr"
    for part in ("plugins/modules/*.py", "plugins/module_utils/**/*.py", "playbooks/**/*.yml", "roles/*/meta/*.yml"):
        wanted = {path.relative_to(ROOT) for path in ROOT.glob(part)}
        assert wanted and wanted == {path.relative_to(made) for path in made.glob(part)}
    assert not (made / "tests").exists() and not list(made.rglob("*.pyc"))
    environment = labkit.environment() | {"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    command = ["ansible-doc", "-t", "module", "confidential.azure_skr.key_release"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=installed, check=False)
    assert done.returncode == 0 and "Release" in done.stdout, done.stderr


def test_introspection_finds_the_requirements(context: Path, installed: Path) -> None:
    """The image's own script reads the collection's meta/execution-environment.yml: the packages of requirements.txt, no program."""
    script = context / "_build/scripts/introspect.py"
    command = [sys.executable, str(script), "introspect", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True, env=labkit.environment(), check=False)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout.split("---", 1)[1])
    packages = {line.split("#")[0].strip() for line in found["python"]}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert packages == {line.strip() for line in lines if line.strip() and not line.startswith("#")}
    assert not found.get("system")


def test_what_the_modules_import_is_required() -> None:
    """Every third-party package that code of the controller's side imports stands in the requirements."""
    imported = set()
    for path in (ROOT / "plugins/module_utils/azure").rglob("*.py"):
        for match in re.finditer(
            r"^\s*(?:from|import) (azure(?:\.\w+)+|requests|cryptography)", path.read_text(), re.M
        ):
            imported.add(match.group(1))
    required = (ROOT / "requirements.txt").read_text()
    packages = {"requests", "cryptography", "azure-identity"}
    for name in imported - {"requests", "cryptography"}:
        words = name.split(".")
        if words[1] in ("core", "identity") or words[1:3] == ["mgmt", "core"]:  # these come with each of the others
            continue
        packages.add("-".join(words[:3]))
    for package in packages:
        assert re.search(rf"^{package}>=", required, re.M), package
