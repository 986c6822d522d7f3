#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Unit tests of what runs on VMs, under other interpreters than this one. Usage: old-libraries.sh oldest|newest...
#   oldest: Python 3.9 with the oldest libraries that are supported
#   newest: the newest Python here (3.13 or later) with the newest libraries
# The environments stay below .build, so that only the first run takes long.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$#" -gt 1 ]; then # side by side: each uses one core
  jobs=() failed=0
  for which in "$@"; do
    tests/tools/old-libraries.sh "$which" >".build/libraries-$which.log" 2>&1 &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  for which in "$@"; do
    if [ "$failed" = 1 ]; then cat ".build/libraries-$which.log"; fi
  done
  for which in "$@"; do tail -n 1 ".build/libraries-$which.log"; done | paste -sd ';'
  exit "$failed"
fi
which=${1:?oldest or newest}

case $which in
  oldest)
    versions=(3.9)
    libraries=(cryptography==3.4.8 requests==2.25.1)
    ;;
  newest)
    versions=(3.15 3.14 3.13)
    libraries=(cryptography requests)
    ;;
  *)
    echo "$which is neither oldest nor newest" >&2
    exit 2
    ;;
esac

interpreter() { # interpreter VERSION: the path of such a Python with the module venv, of pyenv or on PATH
  local found
  for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python "$(command -v "python$1" || true)"; do
    if [ -x "$found" ] && "$found" -c "import sys, ensurepip, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      echo "$found"
      return
    fi
  done
}

python=""
for version in "${versions[@]}"; do
  python=$(interpreter "$version")
  [ -z "$python" ] || break
done
if [ -z "$python" ]; then
  echo "skipped: there is no Python ${versions[*]} here, neither of pyenv nor on PATH"
  exit 0
fi

environment=.build/libraries-$which
wanted="$("$python" -V) ${libraries[*]} $(date +%Y-%m)" # newest means of this month
if [ "$(cat "$environment/.installed" 2>/dev/null || true)" != "$wanted" ]; then
  rm -rf "$environment"
  "$python" -m venv "$environment"
  "$environment/bin/pip" install -q --disable-pip-version-check "${libraries[@]}" ansible-core pytest pytest-timeout PyYAML
  printf '%s' "$wanted" >"$environment/.installed"
fi

"$environment/bin/python" -m pytest -p no:cacheprovider --ignore tests/unit/policy/test_agreement.py tests/unit/guest tests/unit/policy
"$environment/bin/python" -c '
import cryptography, requests, sys
print("Python %d.%d.%d," % sys.version_info[:3], "cryptography", cryptography.__version__ + ",", "requests", requests.__version__)'
