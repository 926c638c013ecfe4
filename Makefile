# make demo: train in float, 8 and 4 bits and show what SWALP gains.   make test: run the tests.
# make notebooks: the walkthroughs of examples/ as notebooks, in examples/notebooks.
# Both make their own virtual environment, .venv, with what they need and nothing else.
# make docs: the site, in docs/_build/html, in an environment of its own, .venv-docs.
# make bench: lpnet against PyTorch and QPyTorch, in an environment of its own, .venv-bench; TABLES=steps for one table.
# make bench-gpu: on a machine with a GPU, in .venv-gpu, all that only a GPU can show; CUDA=12 for an older driver.
PYTHON ?= python3
RUN = .venv/bin/python

.PHONY: demo test coverage notebooks docs lint wheel bench bench-gpu clean

demo: .venv/demo
	$(RUN) -m lpnet demo

test: .venv/test
	$(RUN) -m pytest -n auto -q

# The same, and which lines it runs: at least 90 %. Counting them takes a third as long again.
coverage: .venv/test
	$(RUN) -m pytest -n auto -q --cov=lpnet --cov-report=term:skip-covered --cov-fail-under=90

notebooks:
	$(PYTHON) examples/make_notebooks.py examples/notebooks

# Warnings are errors, and so are links that lead nowhere; nothing is fetched, neither here nor by a page.
docs: .venv-docs/docs
	.venv-docs/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	.venv-docs/bin/python docs/check_links.py docs/_build/html

# mypy knows no package_dir: it finds lpnet.models and lpnet.reproduce by links.
lint: .venv/test lpnet/models lpnet/reproduce
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy lpnet

lpnet/models:
	ln -s ../models $@

lpnet/reproduce:
	ln -s ../examples/swalp $@

# The wheel, built from the source distribution and installed in an environment of its own, imports whole.
wheel: .venv/test
	rm -rf build dist .venv/wheel && $(RUN) -m build -q
	$(PYTHON) -m venv .venv/wheel && .venv/wheel/bin/python -m pip install -q dist/*.whl
	cd dist && ../.venv/wheel/bin/python ../tests/import_all.py

bench: .venv-bench/bench
	PATH="$(CURDIR)/.venv-bench/bin:$$PATH" .venv-bench/bin/python -m tests.benchmarks $(TABLES)

# On a machine with a GPU: its tests and figures, into tests/GPU.md. CUDA is the driver's, 12 or 13. Peers may be missing.
# WHEELS=FOLDER: install from there, without a network. Where all is installed: python -m tests.benchmarks.gpu [STAGE ...].
CUDA ?= 13
ifdef WHEELS
bench-gpu: export PIP_NO_INDEX = 1
bench-gpu: export PIP_FIND_LINKS = $(abspath $(WHEELS))
endif
bench-gpu: .venv-gpu/test,cuda$(CUDA)
	-.venv-gpu/bin/python -m pip install -q --disable-pip-version-check -e '.[bench]'
	PATH="$(CURDIR)/.venv-gpu/bin:$$PATH" .venv-gpu/bin/python -m tests.benchmarks.gpu

# An environment, and in it the extras that the file is named after.
define environment
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q --disable-pip-version-check -e '.[$(@F)]'
	touch $@
endef

.venv/%: setup.cfg pyproject.toml
	$(environment)

.venv-bench/%: setup.cfg pyproject.toml
	$(environment)

.venv-gpu/%: setup.cfg pyproject.toml
	$(environment)

.venv-docs/%: setup.cfg pyproject.toml
	$(environment)

clean:
	rm -rf .venv .venv-bench .venv-gpu .venv-docs docs/_build docs/walkthrough build dist demo runs *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage*
