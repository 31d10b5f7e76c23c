# Every verb sets up what it needs first. `make` alone lists them. ARGS is passed on: make test ARGS="-k order".
PYTHON ?= python3
IMAGE  ?= danmaku-push:dev
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install run test bench check image clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## make the virtual environment .venv with everything in it

run: $(STAMP) ## run everything: Redis, logic, two gateways, a demo page and a demo publisher
	@$(BIN)/python -m loadgen up $(ARGS)

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest $(ARGS)

bench: $(STAMP) ## print the benchmark table (minutes; never part of the tests)
	$(BIN)/python -m tests.bench $(ARGS)

check: $(STAMP) ## check format, lint, types and the direction of imports
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

image: ## build the container image $(IMAGE) with docker
	docker build --tag $(IMAGE) $(ARGS) .

clean: ## remove everything that the other verbs made, the virtual environment included
	rm -rf $(VENV) build dist *.egg-info .*_cache .hypothesis reports
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "danmaku-push needs Python 3.11 or later as '$(PYTHON)'; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV), once: a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
