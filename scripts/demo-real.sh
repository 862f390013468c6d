#!/usr/bin/env bash
# Recorded machines through Kafka, windows and a TensorFlow autoencoder that has learnt from the start
# of each recording: labelled anomalies against alarms, and a plot of each in target/demo-real.
#
#   SKAB      folder of the SKAB data set (with other/*.csv), to replay its pump experiments too
#   BROKERS   host:port of a Kafka to use in place of the broker in the process
#
# It needs what scripts/demo.sh does, and makes a model for each recording the first time (ten seconds
# each). Ctrl-C ends it, and removes its topics from a Kafka that was named.
set -euo pipefail
recorded=(--nab demo/data/nab)
[ -z "${SKAB:-}" ] || recorded+=(--skab "$(realpath "$SKAB")")
cd "$(dirname "$0")/.."
. scripts/demo-steps.sh

scripts/setup.sh system python native
build_demo

windows=.tideflow/recorded-windows out=target/demo-real
rm -rf "$windows" "$out"
"$demo" real-windows "${recorded[@]}" --out "$windows"

models=()
while IFS=$'\t' read -r name units; do
    options=()
    for unit in $units; do options+=(--unit "$unit"); done
    model=$(trained series "$name" "$windows/$name.jsonl" "${options[@]}")
    models+=(--model "$name=$model")
done < "$windows/index.tsv"

options=(--out "$out")
[ -z "${BROKERS:-}" ] || options+=(--brokers "$BROKERS")
quiet_tensorflow
"$demo" real "${recorded[@]}" "${models[@]}" "${options[@]}"
.tideflow/venv/bin/python demo/plot.py "$out"
