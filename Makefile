# What a person can do here: `make` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export TIDEFLOW_CACHE ?= $(HOME)/.cache/tideflow
MODEL ?= health
# WINDOWS is what DATA is for the models that read windows.
data = $(or $(DATA),$(WINDOWS))
registry = $(if $(MLFLOW),--registry '$(MLFLOW)')
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

cluster-test: ## three hosts on this machine, as root: the launcher, and a job that loses processes and hosts
	@scripts/setup.sh system tests python native
	@scripts/cluster-test.sh

terraform: ## check the modules, and apply the examples as root [PART="check|aws|local"]
	@scripts/setup.sh tests python
	@scripts/terraform.sh $(PART)

train: ## train a model: MODEL=name [DATA=path] [OUT=dir] [MLFLOW=url, also registers a version]
	@scripts/setup.sh system python native
	$(training) train '$(MODEL)' $(if $(OUT),--out '$(OUT)') $(if $(data),--data '$(data)') $(registry)
ifeq ($(MODEL),health)
	@echo 'model       `device_health` takes it with --model.reference $(or $(OUT),.tideflow/models/health)'
endif

detect: ## judge recordings: FORMAT=skab|nab|cmapss IN=dir OUT=dir [WORKERS=1]
	@case '$(FORMAT)' in skab|nab|cmapss) ;; *) echo 'make detect: expected FORMAT=skab, nab or cmapss, found `$(FORMAT)`' >&2; exit 2 ;; esac
	@[ -d '$(IN)' ] || { echo "make detect: expected the recordings' folder in IN, found \`$(IN)\`" >&2; exit 2; }
	@scripts/setup.sh system python native
	@cargo build --release --locked --package tideflow-dataflows --bin detect
	@TENSORFLOW_DIR=$${TENSORFLOW_DIR:-$$PWD/.tideflow/native/lib} $${CARGO_TARGET_DIR:-target}/release/detect --format '$(FORMAT)' --in '$(IN)' --out '$(or $(OUT),.tideflow/detect)' --workers $(or $(WORKERS),1)

promote: ## let an alias name a registered version that is good enough: MODEL=name [VERSION=n] [LIMITS_ONLY=yes] [BACK=yes] [MLFLOW=url]
	@scripts/setup.sh python
	$(training) promote '$(MODEL)' $(if $(VERSION),--candidate '$(VERSION)') $(if $(LIMITS_ONLY),--limits-only) $(if $(BACK),--back) $(if $(data),--data '$(data)') $(registry)

mlflow: ## an MLflow server on this machine, for runs and versions of models [PORT=number]
	@scripts/setup.sh mlflow
	@scripts/mlflow.sh status 2> /dev/null || scripts/mlflow.sh start $(if $(PORT),--port $(PORT))
	@echo 'It is also its pages, for a browser. `export` the line above, or give MLFLOW=url to make.'
	@echo 'It runs until: scripts/mlflow.sh stop'

bench: ## measure, and write a report to benches/reports [PEERS=dir] [BENCH_ONLY=engine|infer]
	@scripts/setup.sh system
	@scripts/bench.sh $(BENCH_ONLY)

quality: ## judge recordings with known answers, and write a report with plots: DATA=dir [DETECT=program]
	@DATA='$(DATA)' DETECT='$(DETECT)' scripts/quality.sh

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

clean: ## remove what was built here; downloads, .tideflow/state of jobs and .tideflow/mlflow stay
	cargo clean
	[ ! -d .tideflow ] || find .tideflow -mindepth 1 -maxdepth 1 ! -name state ! -name mlflow -exec rm -rf {} +

.PHONY: help setup build demo demo-real test crash cluster-test terraform train detect promote mlflow bench quality bench-build fmt lint docs clean
