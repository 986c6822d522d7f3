#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# ansible-test sanity on a copy of the collection.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tree=$("$here/collection-tree.sh")
# A home of its own, so that ansible-test's cache leaves nothing behind. Its virtual environments are made with a
# bootstrap script that it would download; ensurepip does the same without that host.
settings=$HOME/.config/pip/pip.conf # the user's own pip settings count there too: package index, CA
export HOME=$root/.build/home
mkdir -p "$HOME/.config/pip"
if [ -e "$settings" ]; then cp "$settings" "$HOME/.config/pip/"; fi
mkdir -p "$HOME/.ansible/test/cache"
cp "$here/bootstrap_pip.py" "$HOME/.ansible/test/cache/get_pip_24_2.py"
export PATH=$root/.venv/bin:$PATH
cd "$tree"
version=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# What users install; the tests have ruff, and half of the time here would be theirs.
tests=()
for folder in tests/*/; do tests+=(--exclude "$folder"); done
ansible-test sanity --local --requirements --python "$version" --color no "${tests[@]}" "$@"
