# Chibi Lab. `make` alone lists what it can do. Needs Python 3.11 or newer, on Linux or macOS.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# --compile-bytecode: on all cores now, instead of one module after the other at the first import.
# Exists when the environment is complete; older than what it was made from, it is made again.
INSTALLED := $(VENV)/.installed
# The system's uv, or one that is fetched into the environment.
FIND_UV = command -v uv > /dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install uv
UV = PATH="$$PATH:$(CURDIR)/$(BIN)" uv

.PHONY: help env browser book test lab notebooks address gallery check format pins clean
.DEFAULT_GOAL := help

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

env: $(INSTALLED)  ## make the environment in .venv
	@echo "Ready. Activate it with: source $(BIN)/activate"

browser: $(INSTALLED)  ## add a browser, for the test that drives the studio in one
	@$(FIND_UV)
	$(UV) pip install --python $(BIN)/python --constraint constraints.txt --editable '.[book,browser]'
	command -v chromium > /dev/null || $(BIN)/playwright install chromium

book: $(INSTALLED)  ## run every chapter and build the book
	@echo "Running 14 chapters: about 20 minutes on an idle laptop with two cores."
	$(BIN)/jupyter-book build book/
	@echo
	@echo "The book is ready. Open it in a browser:"
	@echo "  file://$(CURDIR)/_build/html/index.html"

test: $(INSTALLED)  ## run the unit tests, then every notebook
	@echo "Unit tests, then 14 chapters: about half an hour on an idle laptop with two cores."
	$(BIN)/pytest --nbval

# Root, as in containers, has to insist.
lab: $(INSTALLED)  ## open the book in JupyterLab
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) book/01_background.ipynb

notebooks: book  ## build the book, then keep the outputs in book/*.ipynb
	$(BIN)/python book/_ext/keep_outputs.py

address: $(INSTALLED)  ## write the address in pyproject.toml into the notebooks
	$(BIN)/python book/_ext/address.py

gallery: $(INSTALLED)  ## draw the picture of the first page anew
	$(BIN)/python book/_ext/draw_gallery.py

check: $(INSTALLED)  ## look for mistakes and untidy code, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## tidy the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(INSTALLED)  ## write constraints.txt anew with today's versions
	@$(FIND_UV)
	$(UV) pip compile pyproject.toml --extra book --universal \
	  --python-version 3.11 --fork-strategy fewest --no-annotate --upgrade \
	  --custom-compile-command "make pins" --output-file constraints.txt

clean:  ## remove what was built (the environment stays)
	rm -rf _build .pytest_cache .ruff_cache
	find book chibi_lab tests -name __pycache__ -type d -prune -exec rm -rf {} +

# uv makes the environment in seconds. Without it a plain venv is made and uv is fetched into it; should
# that fail as well, pip does the work and takes some minutes longer.
$(INSTALLED): pyproject.toml constraints.txt chibi_lab/__init__.py
	@set -e; \
	if command -v uv > /dev/null; then \
	  echo "Making the environment in $(VENV) with uv ..."; \
	  test -x $(BIN)/python || uv venv --clear --python '>=3.11,<3.15' $(VENV); \
	  uv pip install --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable '.[book]'; \
	else \
	  if ! test -x $(BIN)/python; then \
	    for python in python3 python3.14 python3.13 python3.12 python3.11 none; do \
	      if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2> /dev/null; \
	      then break; fi; \
	    done; \
	    if test "$$python" = none; then \
	      echo "No Python from 3.11 to 3.14 with its venv module was found." >&2; \
	      echo "Install one (Debian, Ubuntu: apt install python3-venv) and run make again." >&2; \
	      exit 1; \
	    fi; \
	    echo "Making the environment in $(VENV) with $$($$python --version) ..."; \
	    $$python -m venv --clear $(VENV); \
	  fi; \
	  if $(BIN)/python -m pip install --quiet uv; then \
	    $(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --constraint constraints.txt --editable '.[book]'; \
	  else \
	    echo "uv is not to be had: pip installs, which takes some minutes ..."; \
	    $(BIN)/python -m pip install --constraint constraints.txt --editable '.[book]'; \
	  fi; \
	fi
	@touch $@
