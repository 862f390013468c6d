#!/usr/bin/env bash
# Recorded machines through Kafka, windows and a TensorFlow autoencoder that has learnt from the start
# of each recording: labelled anomalies against alarms, and a plot of each.
#
#   SKAB      folder of the SKAB data set (with other/*.csv), to replay its pump experiments too
#   BROKERS   host:port of a Kafka to use in place of the broker in the process
#
# What it needs it makes the first time, as scripts/demo.sh does, and a model for each recording (ten
# seconds each).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/trained.sh

scripts/setup.sh
mkdir -p .tideflow/models
demo=${CARGO_TARGET_DIR:-target}/release/demo
[ -x "$demo" ] || echo "build       the program, optimised: three to eight minutes the first time"
cargo build --release --locked --quiet --package tideflow-demo

recorded=(--nab demo/data/nab)
[ -z "${SKAB:-}" ] || recorded+=(--skab "$SKAB")
windows=.tideflow/recorded-windows out=target/demo-real
rm -rf "$windows" "$out"
"$demo" real-windows "${recorded[@]}" --out "$windows"

models=()
while IFS=$'\t' read -r name units; do
    options=()
    for unit in $units; do options+=(--unit "$unit"); done
    models+=(--model "$name=$(trained series "$name" "$windows/$name.jsonl" "${options[@]}")")
done < "$windows/index.tsv"

options=(--out "$out")
[ -z "${BROKERS:-}" ] || options+=(--brokers "$BROKERS")
"$demo" real "${recorded[@]}" "${models[@]}" "${options[@]}" 2> >(
    trap '' INT TERM
    exec grep --line-buffered -v -e '^WARNING: All log messages before absl' \
        -e 'oneDNN custom operations are on' >&2
)
.tideflow/venv/bin/python demo/plot.py "$out"
