#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Puts the collection awx.awx, against which the AWX objects are checked, into .build/awx. The package ansible carries it; of its
# sixty thousand files only those are unpacked, and nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
wanted='ansible>=12,<13'
folder=.build/awx
if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

rm -rf "$folder"
mkdir -p "$folder"
.venv/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder" "$wanted"
.venv/bin/python - "$folder" <<'END'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [name for name in archive.namelist() if name.startswith("ansible_collections/awx/awx/")])
wheel.unlink()
END
printf '%s' "$wanted" >"$folder/.installed"
