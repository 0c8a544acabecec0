# `make placement` and `make test` need python3 (3.10 or newer) and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PINNED := -c constraints.txt -e

# uv, unlike pip, leaves it to the first process to compile what is imported; where that may not keep
# it, as in many containers, every process would: to import lightning takes 23 s then instead of 9.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: placement test test-all suite test-slow test-lowest test-newest lint report publish docs dist gpu-check

# A newcomer's run: in a quarter of the epochs of the published table, as its title says.
placement: $(READY)
	$(BIN)/python experiments/table_placement.py --recipe.epochs 5 --devices auto

# The checks of types take one core, and leave the others to the tests.
test: $(READY)
	$(MAKE) -j 2 lint suite

test-all: $(READY)
	$(MAKE) -j 2 lint suite ARGS='$(ALL)'

ALL := -m "not slow and not fresh"

# A process a core and one more, since some tests wait; each with one thread, which is faster than
# one process with all of them.
SIDE_BY_SIDE := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 8 --dist worksteal

suite: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout=1800

# The suite where every package is the lowest that pyproject.toml allows, on the lowest Python, and
# where it is the newest there is, on the newest; `make test-lowest ARGS=tests/report` runs a part.
# Without mypy, which knows the types of the pinned torch.
PYTHON_lowest ?= python3.10
PYTHON_newest ?= python3.13
RESOLUTION_lowest := lowest-direct
RESOLUTION_newest := highest

test-lowest test-newest: test-%: .venv-%/.ready
	.venv-$*/bin/ruff check .
	.venv-$*/bin/ruff format --check .
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest $(SIDE_BY_SIDE) $(ALL) $(ARGS)

.venv-lowest/.ready .venv-newest/.ready: .venv-%/.ready: pyproject.toml
	$(PYTHON_$*) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-$*/bin/uv pip install --quiet --python .venv-$*/bin/python --resolution $(RESOLUTION_$*) -e ".[test]"
	@touch $@

# On a machine with a GPU, in 8 minutes: with .venv where there is one, else with PYTHON's own torch.
gpu-check:
	$(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON)) experiments/gpu_check.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The published results as pages for a browser, in html/.
report: $(READY)
	$(BIN)/python -m repflow_pl.report html

# The site, in docs/_build/html; once its extra is installed, without network.
docs: .venv/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . docs/_build/html
	@echo "built docs/_build/html/index.html"

.venv/.docs: $(READY)
	$(PIP) $(PINNED) ".[test,docs]"
	@touch $@

# What a release is made of, in dist/, tried in fresh environments: needs a network and minutes.
dist: .venv/.release
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pytest -m fresh --timeout=1800 tests/test_fresh.py

.venv/.release: $(READY)
	$(PIP) $(PINNED) ".[test,release]"
	@touch $@

# For the maintainers: renew tables/ and the README from runs/ and tables/yours/, all settings or,
# with `make publish ARGS="--data ut_interaction"`, one's.
publish: $(READY)
	$(BIN)/python experiments/publish.py $(ARGS)

# By uv, in a fraction of pip's time; by pip where uv cannot, which does not read pip's settings.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(PINNED) ".[test]" || $(PIP) $(PINNED) ".[test]"
	@touch $@
