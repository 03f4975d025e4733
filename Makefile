SHELL := /bin/bash

# Every habit is one command; CI calls the same ones. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Tests start Python some hundred times: what it compiles is kept, also in a container that says otherwise.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-system test-all soak fuzz bench bench-micro bench-scale bench-profiles format lint lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.run ## start the daemon on ./inbox -> ./outbox
	@$(BIN)/watcherd run --inbox inbox --outbox outbox --state .state --make-folders

$(VENV)/.run: locks/run.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing watcherd into $(VENV) ..."
	@$(PIP) install --require-hashes -r locks/run.txt -r locks/build.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run locks/dev.txt
	@echo "installing the tools for tests into $(VENV) ..."
	@$(PIP) install --require-hashes -r locks/dev.txt
	@touch $@

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(VENV)/.dev ## format, lint, types, import layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --verbose > $(VENV)/layers.log || { cat $(VENV)/layers.log; exit 1; }

# The tests are compiled once, beside the lint: each of pytest's workers would do it for itself.
test: $(VENV)/.dev ## lint, then unit and integration tests with branch coverage (3 minutes)
	@$(BIN)/python -m pytest --collect-only -qq > /dev/null & $(MAKE) --no-print-directory lint; linted=$$?; wait; exit $$linted
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $$((2 * $$(nproc))) -q
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --fail-under=95

test-system: $(VENV)/.dev $(VENV)/.system ## the installed command under real faults (15 minutes)
	@$(BIN)/python -m pytest tests/system tests/unit/test_grayscale_jpeg.py -n auto -q

soak: $(VENV)/.dev $(VENV)/.system ## a kill before every call, hundreds under load, power cuts, churns, a million files, idle costs; kept in build/soak.log; by hand
	@mkdir -p build; set -o pipefail; SOAK=1 $(BIN)/python -m pytest tests/system/{kills,power} tests/system/test_{crash,churn,bounds,lost_events,no_events,fairness,hostile}.py -n auto --dist worksteal -v | tee build/soak.log

fuzz: $(VENV)/.dev ## both processors against mutated files, FUZZ_SECONDS=60 each; findings in build/fuzz; by hand
	@$(PIP) install --require-hashes -r locks/fuzz.txt
	@for kind in words grayscale; do \
	  $(BIN)/python tests/fuzz/seeds.py $$kind build/fuzz/$$kind && \
	  $(BIN)/python tests/fuzz/$$kind.py -max_total_time=$${FUZZ_SECONDS:-60} -max_len=4096 -timeout=30 -rss_limit_mb=1500 \
	    -print_final_stats=1 -artifact_prefix=build/fuzz/$$kind- build/fuzz/$$kind > build/fuzz/$$kind.log 2>&1 || \
	    { tail -n 30 build/fuzz/$$kind.log; exit 1; }; \
	  grep -E 'number_of_executed|Done' build/fuzz/$$kind.log; done

bench: $(VENV)/.bench ## the command beside what one would run instead (10 minutes); PARTS="jpegs idle" for some; by hand
	@cd benchmarks && PATH=$(abspath $(BIN)):$$PATH python bench.py $(PARTS)

bench-micro: $(VENV)/.bench ## processors and publisher alone, in seconds; by hand
	@$(BIN)/python -m pytest benchmarks/micro -q -p no:randomly -o addopts= --benchmark-columns=median,iqr,ops

bench-scale: $(VENV)/.bench ## throughput and memory as the work grows (an hour); by hand
	@cd benchmarks && PATH=$(abspath $(BIN)):$$PATH python scale.py $(PARTS)

bench-profiles: $(VENV)/.bench ## where the time goes in the three main cases; by hand
	@cd benchmarks && PATH=$(abspath $(BIN)):$$PATH python profiles.py

# What is measured against, and what draws.
$(VENV)/.bench: $(VENV)/.dev locks/bench.txt
	@(for tool in wc jpegtran vips gm inotifywait xargs; do command -v $$tool || exit 1; done) >/dev/null || { apt-get update -qq && apt-get install -y -qq \
	  --no-install-recommends coreutils findutils libjpeg-turbo-progs libturbojpeg0 libvips-tools graphicsmagick inotify-tools >/dev/null; }
	@$(PIP) install --require-hashes -r locks/bench.txt
	@touch $@

# What the faults are made with. Where they cannot be installed, as without root, the tests that need them are skipped;
# with REQUIRE_ALL, as in CI, that is a failure. A subshell: `exit` in braces would leave the recipe before apt-get.
$(VENV)/.system:
	@( for tool in strace setpriv taskset chattr mkfs.xfs mkfs.btrfs bindfs faketime systemctl journalctl useradd pgrep; do \
	    command -v $$tool || exit 1; done; \
	  ldconfig -p | grep libturbojpeg.so.0 && /usr/bin/python3 -c 'import ensurepip' ) >/dev/null 2>&1 || \
	  { apt-get update -qq && apt-get install -y -qq strace util-linux e2fsprogs xfsprogs btrfs-progs mount bindfs faketime \
	    libturbojpeg0 systemd passwd procps python3-venv >/dev/null; } || \
	  { echo "some tools are missing: tests that need them are skipped"; test -z "$$REQUIRE_ALL"; exit; }; \
	  touch $@

test-all: ## the suite on every supported Python that is present, by its own name or in pyenv
	@set -e; for v in 3.11 3.12 3.13; do \
	  python=$$(for p in python$$v $$(ls -d "$$(pyenv root 2>/dev/null)"/versions/$$v.*/bin/python 2>/dev/null); do \
	    $$p -c '' 2>/dev/null && echo $$p && break; done || true); \
	  if [ -z "$$python" ]; then echo "== Python $$v is not here"; continue; fi; \
	  echo "== Python $$v: $$python"; \
	  $(MAKE) --no-print-directory VENV=.venv-$$v PYTHON=$$python .venv-$$v/.dev; \
	  .venv-$$v/bin/python -m pytest -n auto -q; done

lock: $(VENV)/.run ## resolve the dependencies anew, with hashes
	@$(PIP) install uv
	@set -e; lock() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --upgrade "$$@"; }; \
	  lock pyproject.toml -o locks/run.txt; \
	  echo hatchling | lock - -o locks/build.txt; \
	  lock --group dev -c locks/run.txt -c locks/build.txt -o locks/dev.txt; \
	  lock --group fuzz -o locks/fuzz.txt; \
	  lock --group bench -c locks/run.txt -c locks/dev.txt -o locks/bench.txt

clean: ## remove what the other commands made, but no folder with files of yours
	@rm -rf .venv .venv-3.* build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
