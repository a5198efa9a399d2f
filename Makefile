# Verbs of the project; `make help` lists them.
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# In two halves of about one size, for two cores, whatever the files are called: coverage slows them down to a minute and a half.
PURE_FILES := $(shell ls -S $$(find tests/unit -name 'test_*.py') tests/golden/test_golden.py)
PURE_1 := $(shell echo $(PURE_FILES) | tr ' ' '\n' | awk 'NR % 2')
PURE_2 := $(filter-out $(PURE_1),$(PURE_FILES))
PURE := tests/unit tests/golden/test_golden.py
# For two cores, unless the verb is one of several that share them already.
TWO = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,--jobs=2)
# Most tests wait for a server most of the time, hence more processes than cores. Each worker has its own cluster, and files stay together by tests/kit/scopes.py.
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
.DEFAULT_GOAL := help
# Where it is set, each of some hundred processes would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
BENCH := $(PY) -m tests.bench
# Nodes, images, upgrades and faults are for CI=true: with them nobody waits less than a quarter of an hour.
ifneq ($(CI),true)
SHORT := -m "not node" $(addprefix --ignore=,tests/container/test_image.py tests/faults tests/lifecycle)
endif
# What an image, a node's network and the limits of a pod can change: logins and DNS, rendering, rights, restarts, memory. What the operator decides, the
# other files have tried with a process; `make test-pod` has them too, but for those with clusters of their own, which have no node.
POD_GATE := $(patsubst %,tests/e2e/test_%.py,sync sources encrypted tenants people waves recovery quiet large bad_input)
POD_FILES = $(if $(filter true,$(CI)),$(POD_GATE),tests/e2e --ignore=tests/e2e/test_real_content.py)
AS_POD = SETPOINT_TEST_CLUSTER=node $(PY) -m pytest --durations=10 -n 2 --dist loadfile $(POD_FILES)
# The oldest supported Kubernetes: what the server decides, within five minutes (decision 33); `make test K8S=1.31` has all.
OLDEST := 1.31
OLD_GATE := $(patsubst %,tests/e2e/test_%.py,sync bad_input unions unchangeable own_ends ownership) tests/chart/test_lifecycle.py \
  tests/kit/cluster/test_cluster.py::test_the_server_has_every_feature_but_those_that_its_version_lacks
ON_SERVER = SETPOINT_TEST_KUBERNETES=$1 $(PY) -m pytest --durations=15 $(PARALLEL) -m "not node" $2
.PHONY: help setup image bases release demo bench soak fuzz compat check fmt lint type layers coverage generate generated prepare programs test test-pod unit cluster-up cluster-down clean

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements-dev.lock pyproject.toml
	@echo "setup: installing the locked dependencies into $(VENV)" >&2
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(VENV)/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(VENV)/bin/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

setup: $(STAMP) ## install the locked dependencies into .venv

fmt: setup ## format the code
	@$(VENV)/bin/ruff check -q --fix operator tests image || true
	@$(VENV)/bin/ruff format operator tests image

lint: setup ## formatting and lint rules
	@$(VENV)/bin/ruff format --check operator tests image
	@$(VENV)/bin/ruff check operator tests image

type: setup ## mypy, strict
	@$(VENV)/bin/mypy

layers: setup ## import rules: layers, and one importer for each library
	@$(VENV)/bin/lint-imports

generate: setup ## CRDs, chart schema and reference docs from the models
	@$(PY) -m setpoint.codegen.generate

pure-%: setup
	@$(VENV)/bin/coverage run --data-file=.coverage.$* -m pytest -q $(PURE_$*)

coverage: pure-1 pure-2 ## unit tests, with the coverage gate on the pure modules
	@$(VENV)/bin/coverage combine -q $(^:pure-%=.coverage.%)
	@$(PY) -m tests.kit.coverage_gate

check: setup ## format, lint, types, layers, generated files, coverage gate
	@+$(TWO) coverage type lint layers generated

generated: setup
	@$(PY) -m setpoint.codegen.generate --check

unit: setup ## the pure tests alone: seconds
	@$(PY) -m pytest -q $(PURE)

prepare: setup ## build what `make test` needs and a machine keeps: minutes, once; it does so by itself
	@$(PY) -m tests.kit.prepare

programs:
	@python3 -m tests.kit.cluster.binaries default >/dev/null

ifdef K8S
test: setup
	@SETPOINT_TEST_KUBERNETES=$(K8S) python3 -m tests.kit.cluster.binaries default >/dev/null
	@$(call ON_SERVER,$(K8S),tests/e2e tests/chart tests/kit/cluster/test_cluster.py)
else
test: ## tests against a real API server and real Git servers; CI=true adds faults, nodes, upgrades, 80 kills, the oldest Kubernetes and, as root, the pod; K8S=1.31: tests/e2e there
	@+$(TWO) programs check
	@$(MAKE) --no-print-directory prepare
	@$(PY) -m pytest --durations=40 $(PARALLEL) $(SHORT) $(addprefix --ignore=,$(PURE))
	@if [ "$$CI" = true ]; then $(call ON_SERVER,$(OLDEST),$(OLD_GATE)); fi
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ]; then $(AS_POD); fi
endif

test-pod: setup ## tests/e2e once more, with the operator as a pod of a real node: needs root; with KILLS=50 so many processes of its worker are killed instead (SEED=)
	@$(PY) -m tests.kit.prepare all
ifdef KILLS
	@CI=true SETPOINT_KILLS=$(KILLS) SETPOINT_SEED=$(or $(SEED),$$(date +%s)) $(PY) -m pytest -q -s tests/pod/test_children.py
else
	@$(AS_POD)
endif

image: setup ## the operator's image: by Docker, or without it as an OCI archive in dist/
	@$(PY) -m image

bases: setup ## the digests of the images that the Dockerfile begins with, by Docker, into image/bases.json
	@$(PY) -m image bases

release: setup ## image, chart, bills of materials and checksums in dist/release; KEY=file signs them
	@$(PY) -m image release $(if $(KEY),--key $(KEY))

demo: setup ## a real cluster follows a Git repository, told step by step; KEEP=1 leaves it running
	@$(PY) -m tests.demo $(if $(KEEP),--keep)

bench: setup ## the figures of the budgets on a fresh cluster: SCENARIO=fleet, N=100, IDLE=60 (seconds), COMPARE=file
	@$(BENCH) --scenario $(or $(SCENARIO),fleet) $(if $(N),--n $(N)) $(if $(IDLE),--idle $(IDLE)) $(if $(COMPARE),--compare $(COMPARE))

soak: setup ## an hour of random changes and faults (MINUTES=, SEED=); with KILLS=1000 the operator is killed so often instead
ifdef KILLS
	@SETPOINT_KILLS=$(KILLS) SETPOINT_SEED=$(or $(SEED),$$(date +%s)) $(PY) -m pytest -q -s tests/crash
else
	@$(PY) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))
endif

fuzz: setup ## what tenants write, at random, as Setpoint and as kustomize, kubectl and git read it: MINUTES=10, SEED=, TARGETS=
	@$(PY) -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(TARGETS)

compat: setup ## every kind of Kubernetes through the operator: writes the table of docs/compatibility.md, or with KINDS= of some (RECORD=1: and their rows), CHECK=1 to compare
	@$(PY) -m tests.compat $(if $(CHECK),--check) $(if $(RECORD),--record) $(KINDS)

cluster-up: setup ## a local Kubernetes, with NODE=1 one that runs containers; the last line is KUBECONFIG=<path>
	@$(PY) -m tests.kit.cluster up $(if $(NAME),--name $(NAME)) $(if $(NODE),--node)

cluster-down: setup ## remove every local Kubernetes
	@$(PY) -m tests.kit.cluster down $(if $(NAME),--name $(NAME))

clean: ## remove caches and results of the checkout
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist
