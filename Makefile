# Python and pip are enough; uv is used where it is on PATH. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CHECKED := crds operator router tests
COVERAGE := $(BIN)/coverage
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --no-emit-index-url --no-emit-find-links --no-emit-package tiergarten

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak fmt crds lock cluster cluster-demo cluster-down clean packages

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.local ## Start three small tiers and the router, and send a tour of queries (ONCE=1: then end)
	@$(BIN)/tiergarten demo

check: $(VENV)/.dev ## The fast half of the gate: format, lint, types, imports, generated files
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tiergarten_api.crd --check
	$(BIN)/python -m tiergarten_api.crd --check --folder charts/tiergarten/crds

test: check packages ## The whole gate: make check, then every test, on real parts, with branch coverage
	-@$(BIN)/python tests/cluster prepare
	$(COVERAGE) erase
	$(COVERAGE) run -m pytest $(ARGS)
	$(COVERAGE) combine -q
	$(COVERAGE) report

bench: $(VENV)/.dev packages ## CPU of the router beside nginx, as ratios; operator and router with 2,000 tiers
	$(BIN)/python tests/bench/bench.py $(ARGS)
	$(BIN)/python tests/bench/operator_scale.py
	$(BIN)/python tests/bench/router_scale.py

soak: $(VENV)/.dev ## The event stream under faults, three minutes of them, with its promises checked
	$(BIN)/python tests/soak/event_stream.py --seconds 60 --runs 3 $(ARGS)

fmt: $(VENV)/.dev ## Format and mend what can be mended
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

crds: $(VENV)/.dev ## Write the CRDs from the models
	$(BIN)/python -m tiergarten_api.crd
	$(BIN)/python -m tiergarten_api.crd --folder charts/tiergarten/crds

lock: ## Pin every dependency with its hashes (needs uv)
	$(COMPILE) --extra dev --extra build pyproject.toml -o locks/dev.txt
	$(COMPILE) -c locks/dev.txt --extra local --extra build pyproject.toml -o locks/local.txt
	$(COMPILE) -c locks/dev.txt pyproject.toml -o locks/fetch.txt
	for image in operator router llama; do \
		$(COMPILE) -c locks/dev.txt --extra $$image pyproject.toml -o locks/$$image.txt || exit; \
	done
	echo hatchling | $(COMPILE) -c locks/dev.txt - -o locks/build.txt

cluster: $(VENV)/.dev ## Start a test Kubernetes, and print how to use it
	@$(BIN)/python tests/cluster up

cluster-demo: $(VENV)/.dev ## Install the chart in it, apply the example tiers, and send a tour of queries
	@$(BIN)/python tests/cluster demo

cluster-down: ## End it
	@$(BIN)/python tests/cluster down

clean: ## Remove what was built
	rm -rf $(VENV) .demo build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

# What the tests and the bench need from the system; only root on Debian can install it.
packages:
	@sh tests/packages.sh

$(VENV)/.local: locks/local.txt pyproject.toml
	@sh tests/install.sh $(PYTHON) $(VENV) locks/local.txt
	@touch $@

$(VENV)/.dev: locks/dev.txt pyproject.toml
	@sh tests/install.sh $(PYTHON) $(VENV) locks/dev.txt
	@touch $@ $(VENV)/.local
