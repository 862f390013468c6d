#!/usr/bin/env bash
# How good `detect` is on recordings with known answers, against the goals: a dated report with plots
# in benches/reports. About ten minutes on one core.
#
#   DATA=DIR      what is there of skab/other/*.csv, nab/{data,labels,config} and
#                 cmapss-fd001/train_FD001.txt, as they are published; the rest is left out
#   DETECT=FILE   the program; without it one is built, optimised
#   REPORTS=DIR   where the report goes (default: benches/reports)
#
# What `detect` has written stays in .tideflow/quality until the next run.
set -euo pipefail
[ -n "${DATA:-}" ] || { echo 'DATA=dir is missing: the folder with skab, nab or cmapss-fd001' >&2; exit 2; }
data=$(realpath "$DATA") detect='' given=()
if [ -n "${DETECT:-}" ]; then
    [ -x "$DETECT" ] || { echo "DETECT=$DETECT: expected a program" >&2; exit 2; }
    detect=$(realpath "$DETECT") given=(--given)
fi
[ -z "${REPORTS:-}" ] || REPORTS=$(realpath -m "$REPORTS")
cd "$(dirname "$0")/.."

# What is measured: a commit, or files that are in none.
sources() {
    local commit changed
    commit=$(git rev-parse --short HEAD 2> /dev/null) || { echo unknown; return; }
    changed=$(git status --porcelain -- . ':!benches/reports' | wc -l)
    [ "$changed" -gt 0 ] || { echo "$commit"; return; }
    echo "$commit **with uncommitted changes** in $changed places"
}

scripts/setup.sh python native
export PYTHONPATH=benches TENSORFLOW_DIR=${TENSORFLOW_DIR:-$PWD/.tideflow/native/lib}
# Before minutes are spent on building.
.tideflow/venv/bin/python -m quality.data "$data"
if [ -z "$detect" ]; then
    cargo build --release --locked --quiet --package tideflow-dataflows --bin detect
    detect=${CARGO_TARGET_DIR:-target}/release/detect
fi
# TensorFlow greets at length; and one thread, so that whoever shares the machine is not pushed aside.
export TF_CPP_MIN_LOG_LEVEL=3 OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
exec .tideflow/venv/bin/python -m quality \
    --data "$data" --detect "$detect" "${given[@]}" --work .tideflow/quality \
    --reports "${REPORTS:-benches/reports}" --commit "$(sources)" \
    --command "make quality DATA=dir${DETECT:+ DETECT=file}"
