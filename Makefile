# What a person can do here: `make` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TIDEFLOW_CACHE ?= $(HOME)/.cache/tideflow
MODEL ?= health
OUT ?= .tideflow/models/$(MODEL)
training := PYTHONPATH=models/training .tideflow/venv/bin/python -m tideflow_training

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Downloads and tools are kept in $(TIDEFLOW_CACHE) (TIDEFLOW_CACHE=dir).'

setup: ## look for what everything needs and make the Python environment
	@scripts/setup.sh

build: ## build every program, optimised
	@scripts/setup.sh system
	cargo build --release --locked --workspace --bins

demo: ## a simulated fleet through the whole product [DURATION=30] [BROKERS=host:port]
	@scripts/demo.sh

demo-real: ## recorded machines through the whole product [SKAB=dir] [BROKERS=host:port]
	@scripts/demo-real.sh

test: ## everything: lints, unit tests, end to end on a real Kafka
	@scripts/test.sh

crash: ## kill a job again and again, and compare what it publishes [KILLS=200]
	@scripts/setup.sh system python native
	@scripts/crash.sh $(or $(KILLS),200)

train: ## train a model: MODEL=health|series [WINDOWS=file] [OUT=dir]
	@scripts/setup.sh system python native
ifndef WINDOWS
ifneq ($(MODEL),health)
	@echo 'make train MODEL=$(MODEL) needs WINDOWS=file: windows, one JSON object a line' >&2; exit 2
endif
	$(training) generate --out .tideflow/windows.jsonl
endif
	$(training) $(MODEL) --windows '$(or $(WINDOWS),.tideflow/windows.jsonl)' --out '$(OUT)'
ifeq ($(MODEL),health)
	@echo 'model       `device_health` takes it with --model.reference $(OUT)'
endif

bench: ## measure, and write a report to benches/reports [PEERS=dir]
	@scripts/setup.sh system
	@scripts/bench.sh

bench-build: ## build what the benches need
	@scripts/setup.sh system
	@scripts/bench.sh build

fmt: ## format the Rust code
	cargo fmt --all

lint: setup ## formatting, clippy, docs, licences, schemas, scripts
	@scripts/lint.sh

docs: ## build the documentation of all crates
	@scripts/setup.sh system
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace --all-features

clean: ## remove what was built here; downloads, and what jobs have kept in .tideflow/state, stay
	cargo clean
	[ ! -d .tideflow ] || find .tideflow -mindepth 1 -maxdepth 1 ! -name state -exec rm -rf {} +

.PHONY: help setup build demo demo-real test crash train bench bench-build fmt lint docs clean
