# The developer interface: install once (pip install -c constraints.txt -e ".[dev]"), then these.
PYTHON ?= python

.PHONY: check test test-all docs site package

check: ## style, types, import directions, generated docs
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(PYTHON) -m patchrec_cli.reference --check

test: ## the quick suite
	$(PYTHON) -m pytest -n auto

test-all: ## every test, the slow ones and those on real data and a real model too
	$(PYTHON) -m pytest -m ""

docs: ## write the generated pages
	$(PYTHON) -m patchrec_cli.reference

site: ## the pages as a site, in site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

package: ## wheel and sdist in dist/, then installed and run in an environment of their own
	$(PYTHON) -m hatchling build -d dist
	$(PYTHON) -m pytest -m real tests/real/test_package.py
