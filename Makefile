# Two commands do all the set-up, on a machine that has only Python and make:
#   make demo      install, then train and show a small classifier (runs/demo)
#   make test      install, then run the tests
#   make docs      install, then build the documentation into site/
#   make figures   sizes of functions and files, import cycles, words: against their limits
#   make coverage  run the tests and list the lines and branches that none of them reaches
#   make soak      the long tests: killed, frozen and stopped everywhere
.PHONY: demo test docs soak check figures coverage clean
PYTHON ?= python3
BIN := .venv/bin
# Without bytecode each of some hundreds of processes that the tests start would compile this package again.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

demo: .venv/train .venv/serve
	$(BIN)/googlenet demo

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --durations=10

coverage: .venv/dev
	$(BIN)/coverage erase
	-OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 --dist loadfile  # under coverage a command loads more: tests/cli/test_startup.py
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

soak: .venv/dev
	$(BIN)/python -m pytest tests/soak

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/code_figures.py

figures: .venv/dev
	$(BIN)/python tools/code_figures.py

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

# The stamps .venv/train, .venv/serve and .venv/dev say which extra is installed, as of which pyproject.toml.
.venv/%: pyproject.toml | .venv/bin/python
	@echo "Installing googlenet[$*] into .venv (PyTorch is large: this takes some minutes)"
	$(INSTALL) --editable ".[$*]"
	@touch $@
