#!/usr/bin/env bash
# The demo: a simulated fleet through Kafka, the graph `device_health` and a TensorFlow model.
#
#   DURATION   seconds that the fleet sends, 30 by default
#   BROKERS    host:port of a Kafka to use in place of the broker in the process; how to log in there
#              is said by TIDEFLOW__KAFKA__... variables, as for every graph
#   DEVICES, RATE, SEED   another fleet; 2000 devices, 20000 readings a second, seed 1 by default
#
# What it needs it makes the first time: a Python environment (one minute), the program (three to
# eight minutes), a model (half a minute). Ctrl-C ends the run with its report.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/trained.sh

scripts/setup.sh
mkdir -p .tideflow/models
demo=${CARGO_TARGET_DIR:-target}/release/demo
[ -x "$demo" ] || echo "build       the program, optimised: three to eight minutes the first time"
cargo build --release --locked --quiet --package tideflow-demo

windows=.tideflow/health-windows.jsonl
"$demo" windows --out "$windows" --devices 500 --minutes 60 --seed 7 > /dev/null
model=$(trained health health "$windows")

options=(--model "$model" --duration "${DURATION:-30}")
[ -z "${DEVICES:-}" ] || options+=(--devices "$DEVICES")
[ -z "${RATE:-}" ] || options+=(--rate "$RATE")
[ -z "${SEED:-}" ] || options+=(--seed "$SEED")
[ -z "${BROKERS:-}" ] || options+=(--brokers "$BROKERS")
# TensorFlow says these two lines whatever its log level. Ctrl-C is for the demo, not for this filter.
exec "$demo" run "${options[@]}" 2> >(
    trap '' INT TERM
    exec grep --line-buffered -v -e '^WARNING: All log messages before absl' \
        -e 'oneDNN custom operations are on' >&2
)
