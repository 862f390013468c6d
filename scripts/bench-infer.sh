# Inference, measured: part of bench.sh, which sources it, and says what the variables are.
# shellcheck shell=bash disable=SC2016,SC2154  # Markdown; variables of bench.sh

inference() {
  local networks=.tideflow/bench round
  local figures=$networks/figures.jsonl scores=$networks/scores.jsonl
  [ -z "${PEERS:-}" ] || [ -e "$PEERS_WORK/model/ffnn.onnx" ] || "$PEERS/build.sh" model >&2
  make_networks
  : > "$figures"
  : > "$scores"
  for round in $(seq "${BENCH_ROUNDS:-3}"); do
    in_memory 10-64-64-1 "$networks/small"
    in_memory 784-32-32-32-32-10 "$networks/large"
    [ -z "${PEERS:-}" ] || results=$scores score
  done
  printf '\n## Inference: in memory\n\nMedians of %s rounds.\n\n' "$round"
  goals infer-figures "$figures"
  printf '\n## Inference: Kafka to Kafka\n\n'
  about_scores "$scores"
  printf '\n## Inference: against the goals\n\n'
  goals infer "$figures" "$scores"
}

# The small one by the training package; the large one with the weights that the other engines have.
make_networks() {
  mkdir -p "$networks"
  make -s train MODEL=mock_iot_model OUT="$networks/small" >&2
  TF_CPP_MIN_LOG_LEVEL=3 .tideflow/venv/bin/python benches/ffnn.py "$networks/large" \
    ${PEERS:+"$PEERS_WORK/model/ffnn.bin"} >&2
}

# One round of a network.
in_memory() {
  local network=$1 folder=$2 seconds=${INFER_S:-10} turn own rows
  turn=$((seconds < 8 ? 2 : seconds / 4))
  local infer=$CARGO_TARGET_DIR/release/infer bare=$CARGO_TARGET_DIR/release/examples/bare_session
  own=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["batch_rows"])' "$folder/manifest.json")
  for rows in ${INFER_ROWS:-1 8 64 256 1024}; do
    [ "$rows" = "$own" ] || figure bare "$bare" "$folder" "$rows" "$turn"
  done
  # In turns, so that both have the machine as it is then.
  for _ in 1 2 3 4; do
    figure bare "$bare" "$folder" "$own" "$turn"
    figure pipeline "$infer" "$folder" 0 0 "$turn"
    figure pipeline "$infer" "$folder" 1 0 "$turn"
  done
  figure 'one core' on_one_core "$infer" "$folder" 0 0 "$seconds"
  figure 'open loop' on_one_core "$infer" "$folder" 0 5000 "$seconds"
}

# The last core that this process may run on.
on_one_core() { taskset -c "$(taskset -cp $$ | sed 's/.*[ ,-]//')" "$@"; }

# figure WHAT COMMAND...: one more of a network.
figure() {
  local what=$1 found
  shift
  echo "-- $network: $what: $*" >&2
  found=$("$@")
  printf '{"round":%s,"network":"%s","what":"%s","found":%s}\n' "$round" "$network" "$what" "$found" >> "$figures"
}

# One round of the workload `score`.
score() {
  local peer mode parallelism N=${SCORE_N:-60000}
  export N
  for parallelism in 1 2; do
    for peer in $(beside); do case $peer in
      drop | drop-batch | floor-fast) ;;
      floor) one floor score none "$parallelism" ;;
      *) one "$peer" score at_least_once "$parallelism" ;;
    esac; done
    for mode in at_least_once exactly_once; do
      TIDEFLOW_MODEL=$PWD/$networks/large one tideflow score "$mode" "$parallelism"
    done
  done
}

about_scores() {
  if [ -z "${PEERS:-}" ]; then
    echo 'Left out: `PEERS=dir` names the folder of the harness with the other engines.'
    return
  fi
  printf '%s records of 784 numbers, medians of %s rounds, the engines in turns, the broker on the same machine.\n' \
    "${SCORE_N:-60000}" "${BENCH_ROUNDS:-3}"
  printf 'The others call their model once a record, Tideflow once for up to 256 records.\n\n'
  python3 "$PEERS/table.py" "$1"
}
