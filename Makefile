# SPDX-License-Identifier: GPL-3.0-or-later
# The front door. `make demo` and `make test` are all a newcomer needs.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections
export ANSIBLE_CONFIG := $(CURDIR)/tests/demo/ansible.cfg
export SKRSIM_DIR := $(CURDIR)/.lab

.PHONY: help demo lab test bench fleet fuzz docs agent clean

help:
	@printf '%s\n' 'make demo   the whole job in the lab: five VMs, three hold the key, one is refused, one waits for its grant' \
	  'make lab    the same lab, left up to look around' 'make test   every check and test' \
	  'make bench  counted costs' 'make fleet  500 VMs and 50 ssh hosts: the plays over all of them (root)' 'make fuzz   parsers against arbitrary input' 'make agent  pack the guest agent azure-skr into .build' 'make docs   the documentation site, in .build/docs/html' 'make clean  remove every trace'

demo:
	@tests/tools/environment.sh lab
	@python tests/demo/demo.py

lab:
	@tests/tools/environment.sh lab
	@python tests/demo/demo.py --keep

test:
	@tests/tools/environment.sh test
	@tests/tools/run-tests.sh

bench:
	@tests/tools/environment.sh lab
	@python tests/benchmarks/bench.py

fleet:
	@tests/tools/environment.sh lab
	@python tests/benchmarks/fleet_run.py

fuzz:
	@tests/tools/environment.sh fuzz
	@python tests/fuzz/run.py

agent:
	@tests/tools/environment.sh lab
	@PYTHONPATH=.collections python -m ansible_collections.confidential.azure_skr.plugins.module_utils.agent_archive .build/azure-skr
	@echo .build/azure-skr

docs:
	@tests/tools/environment.sh docs
	@python tests/tools/generate_docs.py
	@tests/tools/docs_site.sh
	@echo .build/docs/html/index.html

clean:
	@if [ -x .venv/bin/skrsim ]; then .venv/bin/skrsim down; fi
	@rm -rf .venv .collections .build .lab .demo .bench .nox .mypy_cache .ruff_cache .pytest_cache .ansible tests/output
	@rm -rf tests/simulator/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
