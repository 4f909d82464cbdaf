# Thin: each target calls one tool. PYTHON may name another interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin/python
# Remembers where the checkout was when qbench was installed in place, so that a moved clone works.
HERE   := $(VENV)/.installed-in

.DELETE_ON_ERROR:
.PHONY: book pdf gallery test bench lint audit notebooks lock install clean

book: install  ## execute what changed, build the pages, print the path of the first one
	@$(BIN) -m qbench book

pdf: install  ## the same as one PDF, for paper; needs Chromium
	@$(BIN) -m qbench book --pdf

gallery: install  ## the README's pictures anew, from the executed chapters
	@$(BIN) -m qbench.gallery

test: install  ## everything that matters, two processes at a time
	@$(BIN) -m pytest -n 2 --dist loadfile --nbval-lax tests notebooks

bench: install  ## speed, measured side by side
	@$(BIN) tests/bench/waits.py
	@$(BIN) tests/bench/sweep.py
	@$(BIN) tests/bench/students.py
	@$(BIN) tests/bench/perceptrons.py
	@$(BIN) tests/bench/devices.py

lint: install  ## ruff: style, imports, formatting
	@$(BIN) -m ruff check .
	@$(BIN) -m ruff format --check .

# In an environment of its own: what it needs is not what the book needs.
audit: install  ## known vulnerabilities of the pinned packages, as far as the network has a list
	@test -x _build/audit/bin/pip-audit || { python3 -m venv _build/audit && \
		_build/audit/bin/python -m pip install --disable-pip-version-check --quiet pip-audit==2.10.1; }
	@_build/audit/bin/pip-audit --disable-pip --no-deps --progress-spinner off -r requirements.lock

notebooks: install  ## refresh the checked outputs of the notebooks after a change
	@$(BIN) tests/refresh_notebooks.py

lock: install  ## write requirements.lock anew from what is installed
	@{ grep '^#' requirements.lock; \
		$(BIN) -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; \
		grep '; ' requirements.lock | grep -v '^#'; } > $(VENV)/lock && mv $(VENV)/lock requirements.lock

install: $(VENV)/.packages
	@test "$$(cat $(HERE) 2>/dev/null)" = "$(CURDIR)" || { \
		$(BIN) -m venv $(VENV) && \
		$(BIN) -m pip install --quiet --disable-pip-version-check --no-deps --editable . && \
		printf '%s' "$(CURDIR)" > $(HERE); }

$(VENV)/.packages: requirements.lock
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("qbench needs Python 3.11 to 3.13, not %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	@test -x $(BIN) && $(BIN) -c '' || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing the pinned packages (about 2 GB, once)"
	@$(BIN) -m pip install --disable-pip-version-check --progress-bar off --quiet -r requirements.lock
	@touch $@

clean:  ## remove what can be made again; keeps .venv and your results/
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
