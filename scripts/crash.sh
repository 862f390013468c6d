#!/usr/bin/env bash
# Kills jobs of both graphs again and again, at random moments and at the steps of their protocol, on
# layouts that change with every start; then compares all that `device_health` has published with what a
# run left alone did, and what the changelogs of `fleet_view` say with what is recomputed. Then stalls a
# sink for a minute under full load, and watches memory.
#
#   scripts/crash.sh [KILLS]
#
# The last line is JSON. `recovery_ms` is from the start of the processes to the first results that they
# commit themselves, in a debug build: with the load of the model, and the replay. Ends with another
# code than 0 when anything was lost, came twice or is wrong. Needs what `make setup` makes.
set -euo pipefail
cd "$(dirname "$0")/.."
kills=${1:-200}
tests=(
    crash::random::crash_a_job_killed_at_random_publishes_every_result_once
    crash::stalled::fault_a_sink_that_stalls_under_full_load_costs_bounded_memory_and_no_result
)

work=$(mktemp -d "${TMPDIR:-/tmp}/tideflow-crash.XXXXXX")
finish() {
    local code=$?
    trap - EXIT
    scripts/kafka.sh stop --kill --dir "$work/kafka" || true
    # What came of it, behind what cargo says.
    grep '^{' "$work/log" 2> /dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

line=$(scripts/kafka.sh start --dir "$work/kafka" --while $$ --remove)
export TIDEFLOW_TEST_BROKERS=${line#BROKERS=} KILLS=$kills STALL_S=60
echo "$kills kills; recovery is from the start of the processes to their first committed results"
cargo test --locked --workspace --all-features --test end_to_end -- \
    --exact "${tests[@]}" --nocapture --test-threads 1 | tee "$work/log" | sed -u '/^{/d'
# Tests by other names would be none.
grep -q "\"kills\":$kills," "$work/log" || { echo "expected a line with $kills kills, found none" >&2; exit 1; }
