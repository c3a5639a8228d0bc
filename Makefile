# SPDX-License-Identifier: GPL-3.0-or-later
# Everything that is made stands in build/; `make clean` takes it away again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

BUILD := $(CURDIR)/build
VENV := $(BUILD)/venv
GATES := $(VENV)/bin/python tests/gates.py

# A scenario of molecule, or several; empty: all of them.
S ?=

export BUILD
export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_HOME ?= $(BUILD)/ansible
export ANSIBLE_COLLECTIONS_PATH := $(BUILD)/collections
export PIP_CACHE_DIR ?= $(BUILD)/cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HYPOTHESIS_STORAGE_DIRECTORY := $(BUILD)/cache/hypothesis
export PYTHONPYCACHEPREFIX := $(BUILD)/cache/python
# A shell of the user's may carry settings of another project.
unexport ANSIBLE_CONFIG
unexport PYTHONPATH

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv ## Move a storage server and a database under load, and back; prints what was lost and how long it took
	@python lab/demo.py

.PHONY: test
test: venv ## Every gate: lint, unit, browser, sanity, package, legs, chaos, molecule
	@$(GATES) lint unit browser sanity package legs chaos molecule

.PHONY: lint
lint: venv ## The static gates
	@$(GATES) lint

.PHONY: unit
unit: venv ## The unit tests with their coverage
	@$(GATES) unit

.PHONY: browser
browser: venv ## Report and plan in a real browser; screenshots in build/screens/
	@$(GATES) browser

.PHONY: sanity
sanity: venv ## ansible-test sanity
	@$(GATES) sanity

.PHONY: legs
legs: venv ## The oldest and the newest versions of Ansible and Python that are supported
	@$(GATES) legs

.PHONY: molecule
molecule: venv ## The stories on real hosts; S=name for one of them
	@$(GATES) $(if $(strip $(S)),$(addprefix --only molecule:,$(S))) molecule

.PHONY: bench-storage
bench-storage: venv ## Time the copy, the delta and the others' tools, side by side
	@python tests/bench/storage.py

# How many switchovers of each kind the bench makes, how many faults the chaos, and where its dice begin.
ROUNDS ?= 10
RUNS ?= 100
SEED ?= 1

.PHONY: bench-mysql
bench-mysql: venv ## Time the switchover, the comparison and the seed against the usual ways
	@python tests/bench/mysql.py --rounds '$(ROUNDS)'

.PHONY: bench-nfs
bench-nfs: venv ## Time the switch of NFS clients, one and four of them, and of up to 100 simulated ones
	@python tests/bench/nfs.py

.PHONY: chaos-mysql
chaos-mysql: venv ## Switch a database under random faults, RUNS=100 times, with the dice of SEED=1
	@python tests/chaos/mysql.py --seed '$(SEED)' --runs '$(RUNS)'

.PHONY: build
build: venv ## The collection as a tarball in build/, installed once to see that it works
	@$(GATES) package

.PHONY: changelog
changelog: venv ## Write CHANGELOG.md anew from the fragments
	@antsibull-changelog release --update-existing --reload-plugins

.PHONY: venv
venv: ## The Debian packages and the Python environment that the rest needs
	@tests/setup/packages
	@tests/setup/venv
	@mkdir -p '$(BUILD)/collections/ansible_collections/seamless'
	@ln -sfn '$(CURDIR)' '$(BUILD)/collections/ansible_collections/seamless/migration'

.PHONY: clean
clean: ## Remove every host, image, network and file that was made here
	@if [ -x lab/lab ]; then lab/lab clean; fi
	@rm -rf -- '$(BUILD)' .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage tests/output \
		changelogs/.plugin-cache.yaml
	@find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf -- {} +
