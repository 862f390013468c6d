#!/usr/bin/env bash
# Measures Tideflow and writes a dated report to benches/reports. `bench.sh build` only builds what a
# comparison runs.
#   PEERS=DIR           a side-by-side harness; without it the benches that need no peers run
#   PEERS_WORK=DIR      where the harness builds and keeps its data (default: ~/.cache/tideflow/peers)
#   BENCH_PEERS="..."   engines beside ours (default: "drop-batch floor floor-fast flink")
#   BENCH_ROUNDS=N      rounds, the engines in turns (default 3)
#   N, MINUTES          size of the window workload (default 8000000 readings over 40 minutes)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
report=benches/reports/$(date -u +%Y-%m-%d).md

build() { cargo build --release --locked -p tideflow-benches --bins; }

heading() {
  echo "# Benchmarks of $(date -u +%Y-%m-%d)"
  echo
  echo "- machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
  echo "- commit: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ', with changes')"
  echo "- command: \`make bench${PEERS:+ PEERS=dir}\`"
}

memory() {
  printf '\n## Memory: one open window a device\n\nResident size, one worker, 80-byte accumulators; "above" is what Tideflow adds.\n\n'
  "$CARGO_TARGET_DIR/release/memory"
}

pieces() {
  printf '\n## The hot path, piece by piece\n\n```text\n'
  cargo bench -q --locked -p tideflow-benches --bench hot_path 2>&1
  printf '```\n'
}

side_by_side() {
  PEERS=$(cd "$PEERS" && pwd)
  for needed in run.sh kafka.sh table.py; do
    [ -e "$PEERS/$needed" ] || { echo "PEERS=$PEERS: expected $needed in it" >&2; return 2; }
  done
  export PEERS_WORK=${PEERS_WORK:-${TIDEFLOW_CACHE:-$HOME/.cache/tideflow}/peers}
  export PEERS_D=$PWD/benches/peers
  mkdir -p "$PEERS_WORK/logs"
  results=$(mktemp "$PEERS_WORK/tideflow.XXXXXX.jsonl")
  for _ in $(seq "${BENCH_ROUNDS:-3}"); do for parallelism in 1 2; do
    for peer in ${BENCH_PEERS:-drop-batch floor floor-fast flink} tideflow; do case $peer in
      drop | drop-batch | floor) one "$peer" window none "$parallelism" ;;
      floor-fast) FLOOR_DECODE=fast PEER_LABEL=floor-fast one floor window none "$parallelism" ;;
      *) one "$peer" window at_least_once "$parallelism" ;;
    esac; done
  done; done
  printf '\n## Side by side: the window workload\n\n%s readings, medians of %s rounds, the engines in turns, the broker on the same machine.\n\n' \
    "${N:-8000000}" "${BENCH_ROUNDS:-3}"
  python3 "$PEERS/table.py" "$results"
  profile
  "$PEERS/kafka.sh" stop "${PORT:-29092}"
}

one() {
  echo "-- $*" >&2
  "$PEERS/run.sh" "$@" >> "$results"
}

# Where the time goes: one more run, sampled. Left out where `perf` is not there.
profile() {
  command -v perf > /dev/null || { printf '\nNo profile: `perf` is not installed.\n'; return; }
  local own; own=$(mktemp -d "$PEERS_WORK/profile.XXXXXX")
  cat > "$own/sampled" <<RUN
#!/usr/bin/env bash
perf record -q -e cpu-clock -F 499 -o "$own/perf.data" "$PWD/benches/peers/tideflow" "\$@" & trap 'kill -INT \$!; wait' TERM; wait
RUN
  chmod +x "$own/sampled"
  PEERS_D=$own "$PEERS/run.sh" sampled window at_least_once 1 > /dev/null
  printf '\n## Where the time goes, one worker\n\nSamples by thread, then the functions above 1 %%.\n\n```text\n'
  perf report -i "$own/perf.data" --sort comm 2> /dev/null | grep -E '^ +[0-9]' || true
  echo
  perf report -i "$own/perf.data" --sort comm,symbol --percent-limit 1 2> /dev/null | grep -E '^ +[0-9]' | cut -c1-140 || true
  printf '```\n'
  rm -rf "$own"
}

build
[ "${1:-}" != build ] || exit 0
mkdir -p benches/reports
{
  heading
  memory
  pieces
  if [ -n "${PEERS:-}" ]; then
    side_by_side
  else
    printf '\nSide by side: left out. `PEERS=dir` names the folder of the harness with the other engines.\n'
  fi
} | tee "$report.new"
mv "$report.new" "$report"
echo "report: $report" >&2
