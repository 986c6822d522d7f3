#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the documentation site into .build/docs/html: the pages of the collection's plugins and roles by antsibull-docs,
# the prose of docs/ by Sphinx. Warnings are errors, links and anchors are checked, no network is used.
set -euo pipefail
cd "$(dirname "$0")/../.."
site=.build/docs
rm -rf "$site"
mkdir -p "$site/source/collection"
chmod -R og-w "$site"
export ANSIBLE_COLLECTIONS_PATH=$PWD/.collections
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --no-add-antsibull-docs-version \
  --dest-dir "$site/source/collection" confidential.azure_skr
cp -r docs/*.md docs/conf.py docs/diagrams "$site/source/"
sphinx-build -q -b html -W --keep-going -j 2 -d "$site/doctrees" "$site/source" "$site/html"
python tests/tools/check_links.py "$site/html"
