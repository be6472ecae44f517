# What each target does stands behind its name; `make` alone lists them.
# Every target does the set-up it needs (.ci/setup).

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
PAGES := _build/html
PORT ?= 8000
PYTEST := $(BIN)/python -m pytest tests
PYTHON_FILES := native tests bench

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

.PHONY: book
book: ready ## build the book: _build/html/index.html
	@$(BIN)/jupyter-book build -W -n --keep-going .
	@printf '\nThe book: %s\n' "$(CURDIR)/$(PAGES)/index.html"

.PHONY: test
test: ready-test lint book ## lint, build the book, run the tests
	@$(PYTEST) -n 2 --dist loadscope -m "not long"

.PHONY: test-long
test-long: ready-test lint book ## the same with volume, fuzzing and every page in every form: an hour or so
	@$(PYTEST) -n 2 --dist loadscope

.PHONY: lab
lab: ready ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

.PHONY: serve
serve: book ## build the book and serve it on http://localhost:8000 (PORT=…)
	@$(BIN)/python -m http.server --bind localhost --directory $(PAGES) $(PORT)

.PHONY: bench
bench: ready-test ## measure builds and heap calls against their floor
	@$(BIN)/python -m bench

.PHONY: tested
tested: ready-matrix ## run every check behind the page "What we tested" (an hour or more)
	@$(BIN)/python -m tests.trust

.PHONY: lint
lint: ready-test ## check the form of Python and C, the spelling and the prose
	@$(BIN)/ruff check --quiet --config native/pyproject.toml $(PYTHON_FILES)
	@$(BIN)/ruff format --quiet --check --config native/pyproject.toml $(PYTHON_FILES)
	@$(BIN)/mypy --config-file native/pyproject.toml native/heapscope bench
	@for folder in tests/*/; do \
		MYPYPATH=tests/glibc:tests/views:tests/build:tests/site:tests $(BIN)/mypy --config-file native/pyproject.toml \
			--allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls \
			--no-warn-unused-ignores --disable-error-code union-attr --disable-error-code operator \
			--disable-error-code var-annotated --disable-error-code attr-defined \
			--disable-error-code arg-type \
			--no-error-summary "$$folder" || exit 1; done
	@find native/src native/heapscope tests -name '*.[ch]' -o -name '*.js' | xargs -r $(BIN)/clang-format --dry-run -Werror
	@$(BIN)/codespell --toml native/pyproject.toml *.md book notebooks native tests bench .ci
	@$(BIN)/python tests/prose.py

.PHONY: matrix
matrix: ready-matrix ## other versions of glibc: record heaps anew and compare (root, 10 minutes, 3 GB)
	@$(BIN)/python -m tests.matrix

.PHONY: picture
picture: ready ## draw the README's picture anew from a real heap
	@$(BIN)/python -m heapscope.sphinx.cover book/assets/heap.svg

.PHONY: lock
lock: ready-test ## write constraints.txt anew from the two requirements.txt
	@.ci/lock

.PHONY: clean
clean: ## remove what was built (not .venv)
	rm -rf _build .mypy_cache .ruff_cache .pytest_cache .hypothesis native/build native/*.egg-info
	find native -name '*.so' -delete -o -name '*.o' -delete

.PHONY: ready
ready:
	@.ci/setup book

.PHONY: ready-test
ready-test:
	@.ci/setup test

.PHONY: ready-matrix
ready-matrix:
	@.ci/setup matrix
