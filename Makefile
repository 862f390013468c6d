# What a person can do here: `make` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TIDEFLOW_CACHE ?= $(HOME)/.cache/tideflow
MODEL ?= health
OUT ?= .tideflow/models/$(MODEL)
python := .tideflow/venv/bin/python

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Downloads and tools are kept in $(TIDEFLOW_CACHE) (TIDEFLOW_CACHE=dir).'

setup: ## look for what is needed and make the Python environment
	@scripts/setup.sh

build: ## build every program, optimised
	@scripts/setup.sh system
	cargo build --release --locked --workspace --bins

demo: setup ## a simulated fleet through the whole product [DURATION=30] [BROKERS=host:port]
	@scripts/demo.sh

demo-real: setup ## recorded machines through the whole product [SKAB=dir]
	@scripts/demo-real.sh

test: ## everything: lints, unit tests, end to end on a real Kafka
	@scripts/test.sh

train: setup ## train a model: MODEL=health|series [WINDOWS=file] [OUT=dir]
ifndef WINDOWS
ifneq ($(MODEL),health)
	@echo 'make train MODEL=$(MODEL) needs WINDOWS=file, windows as JSON lines' >&2; exit 2
endif
	@mkdir -p .tideflow
	cd models/training && ../../$(python) -m tideflow_training generate --out ../../.tideflow/windows.jsonl
endif
	cd models/training && ../../$(python) -m tideflow_training $(MODEL) \
	    --windows '$(abspath $(or $(WINDOWS),.tideflow/windows.jsonl))' --out '$(abspath $(OUT))'

bench: setup ## measure, and write a report to benches/reports [PEERS=dir]
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

clean: ## remove what was built here; downloads stay
	cargo clean
	rm -rf .tideflow

.PHONY: help setup build demo demo-real test train bench bench-build fmt lint docs clean
