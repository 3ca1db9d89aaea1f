# The verbs of this repository. Works from a fresh clone with only Python >= 3.11 (or uv) and make.

VENV := .venv
BIN := $(VENV)/bin
SYNCED := $(VENV)/.synced
# xdist workers, and further arguments for pytest: make test PYTEST="-k replay -x"
WORKERS ?= 2
PYTEST ?=

.DEFAULT_GOAL := help
.PHONY: help demo test slow sync format lint type check docs build clean

help:  ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 14

demo: sync  ## train SiLRI on the default task, on the CPU, without a display
	@tools/demo.sh

test: sync  ## run the tests, the slow ones left out
	$(BIN)/python -m pytest -n $(WORKERS) --durations 8 $(PYTEST)

slow: sync  ## run the slow tests
	@tools/slow.sh $(BIN)/python $(WORKERS) $(PYTEST)

# The stamp is newer than pyproject.toml: nothing to install, so that every verb can depend on this.
sync: $(SYNCED)  ## set up .venv, or bring it up to date

$(SYNCED): pyproject.toml tools/sync.sh
	@tools/sync.sh $(VENV)
	@touch $@

format: sync  ## format the code and mend what can be mended
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: sync
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: sync  ## check the types
	$(BIN)/mypy

check: lint type  ## lint, formatting, types

# The pages open from build/site without a server; only the search needs one.
docs: sync  ## build the site and check the documents; SERVE=1 shows it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
ifdef SERVE
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000
else
	$(BIN)/python -m pytest tests/test_docs.py tests/test_site.py
	@echo "build/site/index.html"
endif

build: sync  ## build the wheel, install it in a clean environment, run it
	tools/smoke.sh $(BIN)/python

clean:  ## remove caches and builds; .venv and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
