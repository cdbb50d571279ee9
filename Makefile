# Two commands: `make demo` runs the whole pipeline on built-in data, `make test` runs the tests.
# Either sets everything up first. They need Python >= 3.11, git and make, and nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PRESET ?=
ROOT ?=
DESCRIPTION ?=
START ?=
ARGS ?=
VENV := .venv
STAMP := $(VENV)/.installed
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,\
            $(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# Threads that sleep while they wait leave the cores to other processes: stages run several times faster beside any load.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH VIRTUAL_ENV

# GB that the environment takes; pip unpacks its downloads in the folder for temporary files first. ROOM=0: do not look.
ROOM ?= 7
ROOM_PIP := 3
define CHECK_ROOM
import os, shutil, sys, tempfile

needed = {}
for folder, room in (os.getcwd(), $(ROOM)), (tempfile.gettempdir(), $(ROOM_PIP)):
    needed.setdefault(os.stat(folder).st_dev, [folder, 0])[1] += room
for folder, room in needed.values():
    free = shutil.disk_usage(folder).free / 1e9
    if $(ROOM) and free < room:
        sys.exit(
            f"The disk of {folder} has {free:.1f} GB free, and the set-up needs about {room} there: $(ROOM) for $(VENV), $(ROOM_PIP) for pip's\n"
            f"temporary files in {tempfile.gettempdir()}. Make room, or put those elsewhere: TMPDIR=/other/folder make ..."
        )
endef
export CHECK_ROOM

.PHONY: help setup demo study test lint clean

help:
	@echo 'make demo                 set up, then run the whole pipeline on the built-in data (CPU: about 40 minutes)'
	@echo 'make demo PRESET=paper    the same with presets/paper.yaml copied to params.yaml first'
	@echo 'make shipped              rebuild the captioner that ships with the package (CPU: about an hour; params.yaml is replaced)'
	@echo 'make study ROOT=folder    train and test on a reader study of your own, leaving one set out (docs/study.md)'
	@echo 'make test                 set up, then run the tests   (make test ARGS="-k split" runs some)'
	@echo 'make lint                 check style with ruff'
	@echo 'make clean                remove the environment; data, models and metrics stay'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
	  echo 'No Python >= 3.11 found. Install one, or name it: make demo PYTHON=/path/to/python3.12' >&2; exit 1; fi
	@echo '==> Creating $(VENV) with $(PYTHON) and installing pinned dependencies (about $(ROOM) GB, 3-5 minutes)'
	@rm -rf $(VENV)
	@$(PYTHON) -c "$$CHECK_ROOM"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'The venv module failed (see above); on Debian: apt-get install python3-venv' >&2; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e '.[test]'
	@touch $@
	@echo '==> Environment ready'

# A source archive has no .git: tell DVC so. In a git checkout the setting is taken back.
.PHONY: scm
scm: $(STAMP)
	@if [ -e .git ]; then dvc config --local --unset core.no_scm 2>/dev/null || true; \
	 else dvc config --local core.no_scm true; fi

demo: $(STAMP) scm
ifneq ($(PRESET),)
	@test -f presets/$(PRESET).yaml || { echo "presets/$(PRESET).yaml does not exist; there are: $(notdir $(basename $(wildcard presets/*.yaml)))" >&2; exit 1; }
	@echo '==> Copying presets/$(PRESET).yaml to params.yaml'
	@cp presets/$(PRESET).yaml params.yaml
endif
	@iqagpt check
	@echo '==> Running the pipeline (dvc repro); stages whose inputs are unchanged are skipped'
	@dvc repro
	@echo
	@iqagpt summary
	@echo '==> Look at: results/tables.md (Tables 1-4 beside the paper), reports/reports.md, metrics/*.json; dvc metrics show'
	@echo '==> All of it in a browser, without a network: page/index.html'

# The captioner that ships with the package, from built-in data, and its model card.
.PHONY: shipped
shipped:
	@$(MAKE) demo PRESET=shipped
	@$(VENV)/bin/python -m iqagpt.shipped.build

study: $(STAMP) scm
	@test -n "$(ROOT)" || { echo 'Name the study: make study ROOT=folder [DESCRIPTION=study.yaml] [START=captioner, or none]' >&2; exit 1; }
	@iqagpt study "$(ROOT)" $(if $(DESCRIPTION),--description "$(DESCRIPTION)") $(if $(START),--start "$(START)")
	@iqagpt check study/params.yaml
	@dvc repro study/dvc.yaml

test: $(STAMP)
	@echo '==> Running the tests'
	@# Two processes of two threads each would wait for one another.
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP)
	@ruff check . && ruff format --check .

clean:
	rm -rf $(VENV)
