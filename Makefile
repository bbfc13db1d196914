# Everything sets itself up: a virtual environment in .venv with the package and its tools, one in
# .venv-addons with TensorFlow 2.15, Keras 2.15 and TensorFlow Addons, one in .venv-backends with
# JAX and PyTorch in place of TensorFlow, and one in .venv-oldest with the lowest versions of all
# dependencies on Keras 3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ADDONS := .venv-addons
BACKENDS := .venv-backends
OLDEST := .venv-oldest
DEMO := runs/demo
WORKERS ?= 2

# TensorFlow's start-up messages hide what matters.
export TF_CPP_MIN_LOG_LEVEL ?= 3

# TensorFlow Addons and some of the lowest versions have no build for Python 3.12 or later. Each
# candidate is started: where pyenv is, `python3.11` may be no more than a message.
FIND_PYTHON_ADDONS = for python in $(PYTHON) python3.11 python3.10 \
    "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[01].*/bin/python; do \
    "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' \
    2>/dev/null && echo "$$python" && break; done
PYTHON_ADDONS ?= $(shell $(FIND_PYTHON_ADDONS))

# Modules that git has as changed or new, for a quick look at their types.
CHANGED = $(shell git ls-files --modified --others --exclude-standard -- 'keras_sphereface/*.py' \
    | xargs -r ls -d 2>/dev/null)

.PHONY: help package install install-addons install-backends install-oldest demo quick test \
    test-all test-addons test-backends test-oldest test-installs check docs format clean

help:
	@echo "make demo           faces -> records -> training -> verification -> spheres, in runs/demo"
	@echo "make quick          lint, imports, types of changed files, unit tests: an answer in a minute"
	@echo "make test           all checks and all tests but the exhaustive ones, in ten minutes"
	@echo "make test-all       also browsers, packaging, whole commands and exhaustive cases"
	@echo "make test-addons    the contract tests beside TensorFlow Addons (Python 3.10 or 3.11)"
	@echo "make test-backends  the contract of heads and losses on JAX and PyTorch, in three minutes"
	@echo "make test-oldest    the contract tests on the lowest versions (Python 3.10 or 3.11)"
	@echo "make test-installs  fresh environments for every Python that is present; takes long"
	@echo "make docs           the documentation site in site/, which opens without a server"
	@echo "make format         let ruff mend style and order of imports"

package: $(VENV)/.package

$(VENV)/.package: pyproject.toml keras_sphereface/version.py
	@echo "Installing keras-sphereface into $(VENV) with what it needs: TensorFlow (1.8 GB), Keras, NumPy,"
	@echo "pandas, Matplotlib, OpenCV and others, 2.5 GB in all. It takes one to five minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable .
	touch $@

install: $(VENV)/.installed

$(VENV)/.installed: $(VENV)/.package
	@echo "Installing what tests and checks need too."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

install-addons: $(ADDONS)/.installed

$(ADDONS)/.installed: pyproject.toml keras_sphereface/version.py
	@python="$(PYTHON_ADDONS)"; test -n "$$python" || { \
	    echo "TensorFlow Addons needs Python 3.10 or 3.11, and none was found."; \
	    echo "Name one: make $(or $(MAKECMDGOALS),$@) PYTHON_ADDONS=/path/to/python3.11"; exit 1; }; \
	set -x; "$$python" -m venv $(ADDONS)
	$(ADDONS)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --editable ".[addons,all,test,test-addons]"
	touch $@

# The whole job on generated faces, in an environment with what the package needs and no more.
demo: package
	$(BIN)/sphereface demo --out $(DEMO)

quick: install
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/lint-imports | tail -n 1
	$(if $(CHANGED),$(BIN)/mypy $(CHANGED))
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow and not full"

test: install check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not full"

test-all: install check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Heads, losses, layers, callbacks, export and training; intervals beside those of cimat.
CONTRACT_TESTS := tests/test_contract.py tests/functional tests/losses tests/heads tests/layers \
    tests/models tests/callbacks tests/export tests/stacks tests/training/test_train.py \
    tests/metrics/test_dyadic.py

# On the stack of TensorFlow Addons, which is also the oracle of the metric losses. Each stack reads
# the files of the other.
test-addons: install-addons
	SPHEREFACE_OTHER_PYTHON="$(abspath $(wildcard $(BIN)/python))" \
	    $(ADDONS)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not full" $(CONTRACT_TESTS)

install-backends: $(BACKENDS)/.installed

# Without TensorFlow, so that nothing needs it unseen.
$(BACKENDS)/.installed: pyproject.toml tests/stacks/backends.txt keras_sphereface/version.py
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --requirement tests/stacks/backends.txt
	$(BACKENDS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# `make test` runs the same tests on TensorFlow.
test-backends: install-backends
	for backend in jax torch; do KERAS_BACKEND=$$backend $(BACKENDS)/bin/python -m pytest \
	    -n $(WORKERS) --dist loadgroup -m "not full" --confcutdir tests/backends tests/backends \
	    || exit 1; done

install-oldest: $(OLDEST)/.installed

$(OLDEST)/.installed: pyproject.toml tests/stacks/oldest.txt keras_sphereface/version.py
	@python="$(PYTHON_ADDONS)"; test -n "$$python" || { \
	    echo "The lowest versions need Python 3.10 or 3.11, and none was found."; \
	    echo "Name one: make $(or $(MAKECMDGOALS),$@) PYTHON_ADDONS=/path/to/python3.11"; exit 1; }; \
	set -x; "$$python" -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint tests/stacks/oldest.txt --editable ".[parquet,test]"
	touch $@

# On the lowest versions that pyproject.toml allows, and what draws, decodes and aligns too.
test-oldest: install-oldest
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not full" $(CONTRACT_TESTS) \
	    tests/data tests/plots tests/reporting

# Fresh environments for every Python that is present, one after the other; it takes long.
test-installs: install
	$(BIN)/python tests/stacks/installs.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Strict: a warning is an error. Without the theme's advertisement of its successor.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean
	@echo "The site is in site/index.html."

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(ADDONS) $(BACKENDS) $(OLDEST) runs site build dist *.egg-info
