# The project's verbs. Each sets up .venv by itself, from the lock, with uv where it is there, else with venv and pip.
.DEFAULT_GOAL := help
.PHONY: help ask test compiled test-compiled test-agents coverage check fix bench docs lock clean

Q ?= Why is the sky blue?
# As it was typed: make would take the $5 of "is $5 much?" for a variable.
override Q := $(value Q)
export Q
export PYTHON

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1\t/p' Makefile | expand -t 24

ask: $(if $(wildcard .venv/.dev),.venv/.dev,.venv/.run)  ## ask the embedded model (Q="Why is the sky blue?")
	@.venv/bin/polychat models pull >/dev/null
	@.venv/bin/polychat ask -- "$$Q" </dev/null
	@echo 'Ask on with  .venv/bin/polychat ask "…"  (or  . .venv/bin/activate  once, then  polychat ask "…").' >&2

test: .venv/.dev  ## all tests (T="tests/test_prompt.py -x" runs some)
	@.venv/bin/polychat models pull >/dev/null || echo "No weights: what needs them is skipped." >&2
	@.venv/bin/python -m pytest $(or $(T),$(ALL_CPUS))

compiled: .venv/.dev  ## a wheel in dist/ whose modules on a request's way are compiled (needs a C compiler; ON=… for that Python)
	@.venv/bin/python -m benchmarks.builds $(ON)

test-compiled: compiled  ## all tests, against that wheel (T="…" runs some)
	@PYTHONPATH="$(CURDIR)/build/compiled" .venv/bin/python -m pytest $(or $(T),$(ALL_CPUS))

coverage: .venv/.dev  ## all tests, and which lines and branches of src/ no test reaches (T="…" runs some)
	@.venv/bin/polychat models pull >/dev/null
	@.venv/bin/python -m pytest --cov --cov-report=term:skip-covered $(if $(T),--cov-fail-under=0) $(or $(T),$(ALL_CPUS))

test-agents: .venv/.dev  ## agents' own programs against a gateway (needs npm, which fetches them into .agents/)
	@mkdir -p .agents && cp tests/agents/package.json .agents/
	@npm install --prefix .agents --no-audit --no-fund --no-package-lock --loglevel error
	@POLYCHAT_AGENTS="$(CURDIR)/.agents" .venv/bin/python -m pytest tests/agents

# A process for each CPU; one that has nothing left to run takes tests from another.
ALL_CPUS = -n logical --maxprocesses 16 --dist worksteal

check: .venv/.dev  ## lint, format, types, and the rules of the house
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet
	@.venv/bin/mypy
	@.venv/bin/python -m pytest tests/test_house.py

fix: .venv/.dev  ## mend what a tool can mend, and make again what is made from tables
	@.venv/bin/python docs/pages.py
	@.venv/bin/python docs/reference.py
	@.venv/bin/python docs/manual_page.py
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

bench: .venv/.dev  ## measure (B=imports runs one; RECORD=1 writes to benchmarks/RESULTS.md; ON=/usr/bin/python3 measures that one)
	@.venv/bin/python -m benchmarks $(if $(RECORD),--record) $(if $(ON),--python $(ON)) $(B)

docs: .venv/.dev  ## build the documentation into site/
	@.venv/bin/python docs/pages.py
	@.venv/bin/python docs/reference.py
	@.venv/bin/python docs/manual_page.py
	@.venv/bin/properdocs build --strict
	@echo "site/index.html"

lock:  ## bring the locked versions up to date (needs uv)
	@uv pip compile $(LOCK) --all-extras --group dev -o requirements/dev.txt
	@uv pip compile $(LOCK) --extra local --group build -c requirements/dev.txt -o requirements/run.txt

LOCK = pyproject.toml --quiet --upgrade --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

clean:  ## remove what was made, .venv too
	rm -rf .venv site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage benchmarks/.peers

.venv/.run .venv/.dev: .venv/.%: requirements/%.txt requirements/install.sh pyproject.toml
	@requirements/install.sh $*
