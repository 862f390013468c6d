#!/usr/bin/env bash
# The demo: a simulated fleet through Kafka, the graph `device_health` and a TensorFlow model.
#
#   DURATION   seconds that the fleet sends, 30 by default
#   BROKERS    host:port of a Kafka to use in place of the broker in the process; how to log in there
#              is said by TIDEFLOW__KAFKA__... variables, as for every graph
#   DEVICES, RATE, SEED   another fleet; 2000 devices, 20000 readings a second, seed 1 by default
#
# It needs what `scripts/setup.sh system` looks for: a C and a C++ compiler, Rust and Python, no Java.
# The rest it makes the first time: a Python environment (one minute), the program (three to
# eight minutes, more on a busy machine), a model (ten seconds). Ctrl-C ends the run with its report.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/demo-steps.sh

scripts/setup.sh system python native
build_demo

windows=.tideflow/health-windows.jsonl
"$demo" windows --out "$windows" --devices 500 --minutes 60 --seed 7 > /dev/null
model=$(trained health health "$windows")

options=(--model "$model" --duration "${DURATION:-30}")
[ -z "${DEVICES:-}" ] || options+=(--devices "$DEVICES")
[ -z "${RATE:-}" ] || options+=(--rate "$RATE")
[ -z "${SEED:-}" ] || options+=(--seed "$SEED")
[ -z "${BROKERS:-}" ] || options+=(--brokers "$BROKERS")
quiet_tensorflow
exec "$demo" run "${options[@]}"
