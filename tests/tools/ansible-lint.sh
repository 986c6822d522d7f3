#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# ansible-lint on a copy of the collection.
set -euo pipefail
tree=$("$(dirname "$0")/collection-tree.sh")
export ANSIBLE_COLLECTIONS_PATH=$tree/../../..:$tree/../../../../awx
unset ANSIBLE_CONFIG
cd "$tree"
ansible-lint --offline --nocolor --profile production
