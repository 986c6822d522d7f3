#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Checks the documentation of every plugin and role as Galaxy and the documentation site would read it.
set -euo pipefail
tree=$("$(dirname "$0")/collection-tree.sh")
cd "$tree"
antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs=self .
