# make demo    replay the bundled drive through the planner and write demo_out/report.html
# make sim     drive the planner in a simulated building, closed loop: a video and a report in demo_out
# make test    every test            (make test ARGS="test/planning -k clearance")
# make check   formats, types, spelling, package rules
# make figures write docs/performance.md from benchmarks/results, and docs/parameters.md from the node
# make clean   remove what these targets made
# make lock    resolve the dependencies anew (needs uv)
#
# Each target first makes .venv with pinned dependencies; the second time that costs nothing and needs no network.
# PYTHON=python3.12 chooses the interpreter.

SHELL := /bin/bash
VENV := .venv
PYTHON ?=
JOBS ?= 2
ARGS ?=
BIN := $(VENV)/bin
MODULES := sana_wm_ros test scripts setup.py $(wildcard launch)

# Threads of OpenMP that wait must not spin: on a machine where anything else runs, spinning costs ten times the work.
export OMP_WAIT_POLICY := PASSIVE

# One thread per library and process: the tests run side by side, and small matrices do not gain from more.
THREADS := OMP_NUM_THREADS=1

.PHONY: venv demo sim test check format figures clean lock

venv:
	@scripts/make_venv.sh $(VENV) $(PYTHON)

demo: venv
	@$(BIN)/sana_wm demo $(ARGS)

sim: venv
	@$(BIN)/sana_wm demo --live $(ARGS)

test: venv
	@$(THREADS) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: venv
	$(BIN)/ruff check $(MODULES)
	$(BIN)/ruff format --check $(MODULES)
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/python scripts/performance_page.py --check
	$(BIN)/python scripts/parameters_page.py --check
	$(BIN)/python -m pytest -q test/package

format: venv
	$(BIN)/ruff check --fix $(MODULES)
	$(BIN)/ruff format $(MODULES)

figures: venv
	@$(BIN)/python scripts/performance_page.py
	@$(BIN)/python scripts/parameters_page.py

clean:
	rm -rf $(VENV) demo_out build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock:
	scripts/lock.sh
