# Everything runs from .venv, which is made from the lock files; PYTHON names the interpreter it starts from.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate
UV := uv==0.13.9
COUNT := 2000000
KILLS := 100
SECONDS := 60
BUILD := requirements/build.lock pyproject.toml
JOBS := 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The tests start hundreds of processes: without bytecode on the disk each would compile the product anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check format model crashes writers properties hostile fuzz bench wheel lock clean
.NOTPARALLEL:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo-stamp ## post real signed webhooks at a broker, gateway and worker, and explain each outcome
	$(BIN)/python -m tidemill.cli.demo

test: .venv/.dev-stamp ## run all tests, the broker's too; JOBS=0 in one process, PYTEST_ARGS="-k name" some
	$(PYTEST) $(PYTEST_ARGS)

check: .venv/.dev-stamp ## lint, formatting, types and floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev-stamp ## format the code and mend what can be mended safely
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model: .venv/.dev-stamp ## check the run protocol in its largest worlds, and by seed, all faults together; minutes
	$(BIN)/python tests/model/run.py --large
	$(BIN)/python tests/model/run.py --seeded

crashes: .venv/.dev-stamp ## kill two hundred workers of durable runs at random moments; minutes
	$(BIN)/python -m pytest tests/consumers/test_durable_crashes.py --kills 200 --timeout 1800

writers: .venv/.dev-stamp ## kill the history's writer KILLS=100 times while runs finish, on both databases; minutes
	$(BIN)/python -m pytest tests/consumers/test_history_crashes.py --kills $(KILLS) --timeout 3600

properties: .venv/.dev-stamp ## ask every property for 2,000 examples, others each time; minutes
	$(PYTEST) -m hypothesis --hypothesis-profile thorough --timeout 1800 $(PYTEST_ARGS)

hostile: .venv/.dev-stamp ## judge two million hostile requests, chosen by Hypothesis; COUNT=20000 for fewer
	$(BIN)/python -m tests.gateway.recipes.hostile_run --count $(COUNT)

fuzz: .venv/.fuzz-stamp ## fuzz recipes and the JSON reader, SECONDS=60 each; FUZZ_ARGS=--keep keeps what it finds
	$(BIN)/python -m tests.fuzz.run recipe json --seconds $(SECONDS) $(FUZZ_ARGS)

bench: .venv/.demo-stamp ## print the benchmarks' figures; minutes
	$(BIN)/python benchmarks/run.py

wheel: .venv/.demo-stamp ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel -d dist

lock: .venv/.created ## resolve all dependencies anew into requirements/*.lock
	$(PIP) $(UV)
	$(LOCK) --upgrade pyproject.toml --group dev -o requirements/dev.lock
	$(LOCK) pyproject.toml -c requirements/dev.lock -o requirements/runtime.lock
	$(LOCK) --group fuzz -c requirements/dev.lock -o requirements/fuzz.lock
	$(LOCK) requirements/build.in -c requirements/dev.lock -o requirements/build.lock

clean: ## remove the virtual environment and everything that was built
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed, with its venv module; name it: make PYTHON=..."; exit 2; }
	$(PYTHON) -m venv .venv
	touch $@

.venv/.demo-stamp: requirements/runtime.lock $(BUILD) | .venv/.created
	$(PIP) --require-hashes -r requirements/runtime.lock -r requirements/build.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

.venv/.dev-stamp: requirements/dev.lock $(BUILD) | .venv/.created
	$(PIP) --require-hashes -r requirements/dev.lock -r requirements/build.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

.venv/.fuzz-stamp: requirements/fuzz.lock .venv/.dev-stamp
	$(PIP) --require-hashes -r requirements/fuzz.lock
	touch $@
