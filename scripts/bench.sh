#!/usr/bin/env bash
# Measures Tideflow. `bench.sh build` builds what a comparison runs; `bench.sh` runs the benches that
# need nothing else; with PEERS=DIR (the folder of a side-by-side harness) the comparison as well.
#   PEERS=DIR           the harness: its README says how it is called
#   PEERS_WORK=DIR      where the harness builds and keeps its data (default: ~/.cache/tideflow/peers)
#   BENCH_PEERS="..."   engines beside ours (default: floor flink)
#   BENCH_ROUNDS=N      rounds, the engines in turns (default 3)
#   N, MINUTES          size of the window workload (default 8000000, 40)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

build() { cargo build --release -p tideflow-benches --bins; }

if [ "${1:-}" = build ]; then
  build
  exit
fi

build
echo "== memory: one open window a device"
"$CARGO_TARGET_DIR/release/memory"
echo "== hot path, piece by piece"
cargo bench -q -p tideflow-benches --bench hot_path

if [ -z "${PEERS:-}" ]; then
  echo "== side by side: left out. PEERS=DIR names the folder of the harness with the other engines."
  exit
fi
PEERS=$(cd "$PEERS" && pwd)
for needed in run.sh table.py; do
  [ -e "$PEERS/$needed" ] || { echo "PEERS=$PEERS: expected $needed in it" >&2; exit 2; }
done
export PEERS_WORK=${PEERS_WORK:-${TIDEFLOW_CACHE:-$HOME/.cache/tideflow}/peers}
export PEERS_D=$PWD/benches/peers
mkdir -p "$PEERS_WORK/logs"
results=$PEERS_WORK/tideflow-$(date +%Y%m%d-%H%M%S).jsonl
one() { echo "-- $*" >&2; "$PEERS/run.sh" "$@" | tee -a "$results"; }
for _ in $(seq "${BENCH_ROUNDS:-3}"); do
  for parallelism in 1 2; do
    for peer in ${BENCH_PEERS:-floor flink}; do
      case $peer in
        floor) one floor window none "$parallelism"; FLOOR_DECODE=fast PEER_LABEL=floor-fast one floor window none "$parallelism" ;;
        *) one "$peer" window at_least_once "$parallelism" ;;
      esac
    done
    one tideflow window at_least_once "$parallelism"
  done
done
"$PEERS/kafka.sh" stop "${PORT:-29092}"
echo "== side by side (medians; raw lines in $results)"
python3 "$PEERS/table.py" "$results"
