#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Copies what git knows (and does not ignore) to .build/tree/ansible_collections/confidential/azure_skr, as a git
# checkout of its own: ansible-test insists on that path and on git. Prints the path.
set -euo pipefail
cd "$(dirname "$0")/../.."
tree=$PWD/.build/tree/ansible_collections/confidential/azure_skr
rm -rf "$PWD/.build/tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null --files-from=- -cf - | tar -C "$tree" -xf -
git -C "$tree" init -q
git -C "$tree" add -A
echo "$tree"
