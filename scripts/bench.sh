#!/usr/bin/env bash
# Measures Tideflow and writes a dated report to benches/reports; the time is in its name too where
# there is one of that date. `bench.sh infer` measures inference only (scripts/bench-infer.sh),
# `bench.sh engine` all but that, and `bench.sh build` only builds what a comparison runs.
#   PEERS=DIR           a side-by-side harness; without it the benches that need no peers run
#   PEERS_WORK=DIR      where the harness builds and keeps its data (default: $TIDEFLOW_CACHE/peers)
#   BENCH_PEERS="..."   engines beside ours (default: "drop-batch floor floor-fast flink kstreams")
#   BENCH_ROUNDS=N      rounds, the engines in turns (default 3)
#   BENCH_RATES="..."   readings a second of the latency workload (default: "5000 20000")
#   N, MINUTES          size of the window workload (default 8000000 readings over 40 minutes)
#   WARM_S, MEASURE_S   seconds of a latency run (default 10 and 15)
#   INFER_S             seconds of a run of inference in memory, a quarter of it where there are four (default 10)
#   INFER_ROWS="..."    rows a call of bare `SessionRun`, beside that of the pipeline (default: "1 8 64 256 1024")
#   SCORE_N             records of the workload `score` (default 60000)
# shellcheck disable=SC2016  # Markdown
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cache.sh
. scripts/bench-infer.sh
only=${1:-}
case $only in
  '' | build | engine | infer) ;;
  *) echo "bench.sh $only: expected \`build\`, \`engine\`, \`infer\` or nothing" >&2; exit 2 ;;
esac
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
export TENSORFLOW_DIR=${TENSORFLOW_DIR:-$PWD/.tideflow/native/lib}
date=$(date -u +%Y-%m-%d)
report=benches/reports/$date.md
[ ! -e "$report" ] || report=benches/reports/$date-$(date -u +%H%M%S).md
port=${PORT:-29092}

build() {
  local programs=(-p tideflow-dataflows -p tideflow-launcher --bins)
  [ "$only" != infer ] || programs=(--bin infer --bin tideflow-peer)
  cargo build --release --locked -p tideflow-benches "${programs[@]}"
  cargo build --release --locked -p tideflow-models --features tensorflow --example bare_session
}

# What was measured: a commit, or files that are in none.
sources() {
  local commit changed
  commit=$(git rev-parse --short HEAD 2> /dev/null) || { echo unknown; return; }
  changed=$(git status --porcelain -- . ':!benches/reports' | wc -l)
  [ "$changed" -gt 0 ] || { echo "$commit"; return; }
  echo "$commit **with uncommitted changes** in $changed places, which are measured here and not in that commit"
}

heading() {
  echo "# Benchmarks of $date"
  echo
  echo "- machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1-3 /proc/loadavg) at the start"
  echo "- commit: $(sources)"
  echo "- command: \`make bench${only:+ BENCH_ONLY=$only}${PEERS:+ PEERS=dir}\`"
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

# Whether there is all that the side-by-side part needs.
find_peers() {
  PEERS=$(cd "$PEERS" && pwd)
  local needed
  for needed in run.sh kafka.sh build.sh table.py; do
    [ -e "$PEERS/$needed" ] || { echo "PEERS=$PEERS: expected $needed in it" >&2; return 2; }
  done
  scripts/setup.sh tests
  export PEERS_WORK=${PEERS_WORK:-$TIDEFLOW_CACHE/peers}
  export PEERS_D=$PWD/benches/peers
  mkdir -p "$PEERS_WORK/logs"
}

# What a run leaves however it ends: the report only when it is whole, and no broker, which the harness
# starts where none runs.
finish() {
  local code=$?
  trap - EXIT
  rm -f "$report.new"
  [ -z "$stop_kafka" ] || "$PEERS/kafka.sh" stop "$port" || true
  exit "$code"
}

# How to read the table.
about_the_rows() {
  cat << 'TEXT'

Tideflow's decoder knows the record's fields, like that of the row `floor-fast`; `floor` uses a general
JSON library. So **`floor-fast` is the row to hold `tideflow` against**: the columns "of floor" and "x
floor", which compare with `floor`, flatter it. `tideflow-serde` decodes as `floor` does.

At least once, Tideflow keeps nothing: after a crash it reads its input again. An engine whose
at-least-once takes checkpoints does work that Tideflow does not do there. Exactly once, the row `tideflow`
commits with each epoch of 50 ms and takes a snapshot every ten seconds; the other engines commit, or take
a checkpoint, once a second in the window workload and ten times a second in the latency workload. What
commits, or checkpoints, at another interval has it in its name.
TEXT
}

# What was found against what is aimed at.
goals() { PYTHONPATH=benches .tideflow/venv/bin/python -m goals "$@"; }

beside() { echo "${BENCH_PEERS:-drop-batch floor floor-fast flink kstreams}"; }

side_by_side() {
  results=$(mktemp "$PEERS_WORK/tideflow.XXXXXX.jsonl")
  export WARM_S=${WARM_S:-10} MEASURE_S=${MEASURE_S:-15}
  for _ in $(seq "${BENCH_ROUNDS:-3}"); do
    for parallelism in 1 2; do windows "$parallelism"; done
    for RATE in ${BENCH_RATES:-5000 20000}; do export RATE; latencies; done
  done
  printf '\n## Side by side: throughput and latency\n\n%s readings, medians of %s rounds, the engines in turns, the broker on the same machine.\n\n' \
    "${N:-8000000}" "${BENCH_ROUNDS:-3}"
  python3 "$PEERS/table.py" "$results"
  about_the_rows
  printf '\n## Against the goals\n\n'
  goals engines "$results"
  profile
}

# One round of the window workload. Ours come one after the other: they are compared in pairs.
windows() {
  local peer mode
  for peer in $(beside); do case $peer in
    drop | drop-batch | floor) one "$peer" window none "$1" ;;
    floor-fast) FLOOR_DECODE=fast PEER_LABEL=floor-fast one floor window none "$1" ;;
    *) for mode in at_least_once exactly_once; do one "$peer" window "$mode" "$1"; done ;;
  esac; done
  for mode in at_least_once exactly_once; do one tideflow window "$mode" "$1"; done
  TIDEFLOW_DECODE=serde PEER_LABEL=tideflow-serde one tideflow window exactly_once "$1"
}

# One round of the latency workload at $RATE.
latencies() {
  local peer ms
  for peer in $(beside); do case $peer in
    drop | drop-batch | floor-fast) ;;
    floor) one floor latency none 1 ;;
    *)
      one "$peer" latency exactly_once 1
      PEER_INTERVAL_MS=20 PEER_LABEL=$peer-20ms one "$peer" latency exactly_once 1 ;;
  esac; done
  TIDEFLOW_EPOCH_MS=20 PEER_LABEL=tideflow-20ms one tideflow latency at_least_once 1
  for ms in 20 50; do
    TIDEFLOW_EPOCH_MS=$ms PEER_LABEL=tideflow-${ms}ms one tideflow latency exactly_once 1
  done
}

# The model of `device_health`; `model` in that folder is the harness's.
train() { make -s train OUT="$PEERS_WORK/health" >&2; }

snapshots() {
  printf '\n## Snapshots: one open window a device, which all go on sending\n\nEvery snapshot is of all devices; the longest pause of five snapshots of the one worker, and its longest without.\n\n'
  "$PEERS/kafka.sh" status "$port" > /dev/null || "$PEERS/kafka.sh" start "$port" >&2
  "$CARGO_TARGET_DIR/release/snapshots" "127.0.0.1:$port"
}

recovery() {
  printf '\n## Killed, and started again at once\n\nOne worker with 100,000 devices, 20,000 readings a second, a snapshot every ten seconds; ten kills. From the start of the process to the first new committed record.\n\n'
  "$CARGO_TARGET_DIR/release/recovery" "127.0.0.1:$port" 100000
  printf '\n`device_health` instead, as a user runs it: with its checks, its model, and open windows of all devices.\n\n'
  "$CARGO_TARGET_DIR/release/recovery" "127.0.0.1:$port" 100000 "$PEERS_WORK/health"
  printf '\nThe same as two processes under `tideflow supervise`, of which one is killed: from SIGKILL to the first new committed record.\n\n'
  "$CARGO_TARGET_DIR/release/recovery" "127.0.0.1:$port" 100000 "$PEERS_WORK/health" 2
}

soak() {
  printf '\n## Ten minutes at full speed\n\n`device_health` with 10,000 devices, exactly once, one worker, the producer and the broker on the same machine.\n\n'
  "$CARGO_TARGET_DIR/release/soak" "127.0.0.1:$port" "$PEERS_WORK/health"
}

# A run that was not right is in the table, and fails nothing else.
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
  PEERS_D=$own "$PEERS/run.sh" sampled window exactly_once 1 > /dev/null
  printf '\n## Where the time goes, exactly once, one worker\n\nSamples by thread, then the functions above 1 %%.\n\n```text\n'
  perf report -i "$own/perf.data" --sort comm 2> /dev/null | grep -E '^ +[0-9]' || true
  echo
  perf report -i "$own/perf.data" --sort comm,symbol --percent-limit 1 2> /dev/null | grep -E '^ +[0-9]' | cut -c1-140 || true
  printf '```\n'
  rm -rf "$own"
}

all_but_inference() {
  memory
  pieces
  if [ -n "${PEERS:-}" ]; then
    snapshots
    train
    recovery
    soak
    side_by_side
  else
    printf '\nSnapshots, and side by side: left out. `PEERS=dir` names the folder of the harness with the other engines.\n'
  fi
}

[ "$only" != build ] || { build; exit; }
[ -z "${PEERS:-}" ] || find_peers
scripts/setup.sh python native
build
stop_kafka=''
[ -z "${PEERS:-}" ] || "$PEERS/kafka.sh" status "$port" > /dev/null || stop_kafka=yes
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p benches/reports
{
  heading
  [ "$only" = infer ] || all_but_inference
  [ "$only" = engine ] || inference
} | tee "$report.new"
mv "$report.new" "$report"
echo "report: $report" >&2
