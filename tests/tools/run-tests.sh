#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every check and test, in the order in which they fail fastest. Prints what it does and what failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .build tests/output
export TERM=dumb ANSIBLE_FORCE_COLOR=0 ANSIBLE_NOCOLOR=1
failed=()

step() { # step NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  printf '== %s\n' "$name"
  "$@" >".build/step.log" 2>&1 &
  local job=$! status=0
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - start)) -ge "$((${told:-0} + 30))" ]; then
      told=$((SECONDS - start))
      printf '   ... %s s\n' "$told"
    fi
  done
  told=0
  wait "$job" || status=$?
  if [ "$status" = 0 ]; then
    tail -n 1 .build/step.log | cut -c1-160
    printf '   ok, %s s\n' $((SECONDS - start))
  else
    cat .build/step.log
    printf '   FAILED: %s, %s s\n' "$name" $((SECONDS - start))
    failed+=("$name")
  fi
}

shown() { # like step, with the output shown as it comes: test runs
  local name=$1 start=$SECONDS
  shift
  printf '== %s\n' "$name"
  if "$@"; then printf '   ok, %s s\n' $((SECONDS - start)); else failed+=("$name"); printf '   FAILED: %s\n' "$name"; fi
}

python_code=(plugins tests conftest.py noxfile.py)
step "format (ruff format)" ruff format --check "${python_code[@]}"
step "lint (ruff)" ruff check "${python_code[@]}"
plugins=ansible_collections.confidential.azure_skr.plugins
step "types (mypy): collection" mypy -p $plugins.module_utils -p $plugins.modules -p $plugins.filter -p $plugins.test -p $plugins.inventory
step "types (mypy): simulator" mypy -p skrsim
step "directions of dependency and language" python tests/tools/check_house.py
step "generated documents are current" python tests/tools/generate_docs.py --check
step "yamllint" yamllint -s -f parsable galaxy.yml meta roles playbooks changelogs tests docs/docsite
step "licences (reuse)" reuse lint -q
step "changelog fragments" antsibull-changelog lint
# These take minutes and have nothing to do with what follows, which waits for services and processes half of the time:
# they fill the gaps, and give way. One after the other, because several of them work on the same copy of the collection.
beside=(
  "sanity (ansible-test)|tests/tools/sanity.sh"
  "collection documentation|tests/tools/docs-lint.sh"
  "examples in the documentation|python tests/tools/check_examples.py"
  "documentation site, links and anchors|tests/tools/docs_site.sh"
  "ansible-lint, profile production|tests/tools/ansible-lint.sh"
  "unit tests of the guest, oldest and newest Python and libraries|tests/tools/old-libraries.sh oldest newest"
)
rm -f .build/beside-*
set -m # a process group of its own, which ends with this script
(
  for number in "${!beside[@]}"; do
    started=$SECONDS status=0
    read -ra words <<<"${beside[$number]#*|}"
    nice "${words[@]}" >".build/beside-$number.log" 2>&1 || status=$?
    printf '%s %s\n' "$status" $((SECONDS - started)) >".build/beside-$number.status"
  done
) &
beside_job=$!
set +m
trap 'kill -- "-$beside_job" 2>/dev/null || true' EXIT
printf '== beside the tests: %s\n' "${beside[@]%%|*}"

# A file is the unit that is handed out: its tests share a lab, and each worker has labs of its own.
parallel=(-n 2 --dist loadfile)
shown "unit tests" python -m pytest "${parallel[@]}" tests/unit
shown "simulator tests" python -m pytest "${parallel[@]}" tests/simulator/tests
# These wait for services and processes half of the time, so there are more workers than cores. In the order of their names, because
# the files with the fewest tests are the longest ones, and would come last.
shown "integration tests, every module in the lab" python -m pytest -n 4 --dist loadfile --no-loadscope-reorder tests/integration
shown "lab tests, playbooks over ssh" python -m pytest tests/lab

while kill -0 "$beside_job" 2>/dev/null; do
  printf '   ... waiting for what runs beside, %s s\n' "$SECONDS"
  for _second in {1..30}; do
    if kill -0 "$beside_job" 2>/dev/null; then sleep 1; fi
  done
done
for number in "${!beside[@]}"; do
  name=${beside[$number]%%|*}
  read -r status seconds <".build/beside-$number.status" || { status=1 seconds=0; }
  printf '== %s\n' "$name"
  if [ "$status" = 0 ]; then
    tail -n 1 ".build/beside-$number.log" | cut -c1-160
    printf '   ok, %s s\n' "$seconds"
  else
    cat ".build/beside-$number.log"
    printf '   FAILED: %s, %s s\n' "$name" "$seconds"
    failed+=("$name")
  fi
done

if [ "${#failed[@]}" -gt 0 ]; then
  printf '\nFAILED: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nEverything passed in %s s.\n' "$SECONDS"
