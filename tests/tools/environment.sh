#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Sets up what the demo, the lab and the tests need: virtual environment, Python packages, and (as root on Debian or
# Ubuntu) swtpm and openssh-server. Usage: environment.sh lab|test|fuzz|docs
set -euo pipefail
cd "$(dirname "$0")/../.."
purpose=${1:-lab}

say() { printf '== %s\n' "$*"; }

python=""
for candidate in python3.11 python3 python3.12 python3.13; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || { echo "Python 3.11 or later is needed and was not found." >&2; exit 1; }

wanted=(swtpm ip openssl)
packages=(swtpm iproute2 openssl)
if [ "$purpose" = docs ]; then # no lab is brought up for it
  wanted=()
  packages=()
elif [ "$(id -u)" = 0 ]; then
  wanted+=(sshd ssh unshare)
  packages+=(openssh-server openssh-client util-linux)
fi
[ "$purpose" = test ] && { wanted+=(tpm2_getrandom systemd-analyze cryptsetup chromium); packages+=(tpm2-tools systemd cryptsetup-bin chromium); }

missing=()
for number in "${!wanted[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${wanted[$number]}" >/dev/null || missing+=("${packages[$number]}")
done
if [ ! -x .venv/bin/python ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  missing+=(python3-venv)
fi
# The lab's guests prefer the distribution's own Python and its packaged libraries, as users' VMs have them.
if [ "$purpose" != docs ] && [ "$(id -u)" = 0 ] && ! /usr/bin/python3 -c 'import cryptography, requests' 2>/dev/null; then
  missing+=(python3 python3-cryptography python3-requests)
fi
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing ${missing[*]} (log: .build/apt.log)"
    mkdir -p .build
    policy=/usr/sbin/policy-rc.d
    made_policy=""
    # No daemon of the machine shall start because the lab needs the program sshd.
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 0755 "$policy"; made_policy=1; }
    status=0
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
      >.build/apt.log 2>&1 </dev/null || status=$?
    [ -z "$made_policy" ] || rm -f "$policy"
    [ "$status" = 0 ] || { tail -5 .build/apt.log >&2; exit "$status"; }
  else
    echo "Please install: ${missing[*]} (Debian, Ubuntu: sudo apt-get install ${missing[*]})" >&2
    exit 1
  fi
fi

stamp=.venv/.installed-$purpose
sum=$(cat requirements.txt requirements/*.txt tests/simulator/pyproject.toml | cksum)
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ]; then
  say "installing Python packages for the $purpose into .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  # A line a package, so that a slow network does not look like a standstill.
  .venv/bin/pip install --disable-pip-version-check --progress-bar off -r "requirements/$purpose.txt" |
    awk '/^(Collecting|Building|Installing)/ { print "   " $1 " " (NF > 4 ? NF - 3 " packages" : $2); fflush() }'
  printf '%s' "$sum" >"$stamp"
fi

# The collection under the path that Ansible insists on.
mkdir -p .collections/ansible_collections/confidential
ln -sfn ../../.. .collections/ansible_collections/confidential/azure_skr

# What the AWX objects are checked against.
[ "$purpose" != test ] || tests/tools/awx_collection.sh
