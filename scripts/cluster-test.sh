#!/usr/bin/env bash
# A job on three hosts, which are network namespaces of this machine: brought by `tideflow`, killed, cut off,
# resized and taken down, while a million readings come. After each step all that it has published is compared
# with what a run left alone did.
#
# The last line is JSON. `recovery_ms` is from the SIGKILL of a process to the first results of the next start,
# in a debug build: with the load of the model. Ends with another code than 0 when anything was lost, came twice
# or is wrong. Needs root, and what `make setup` makes.
set -euo pipefail
cd "$(dirname "$0")/.."
test=cluster::oracle_a_cluster_that_loses_processes_and_hosts_publishes_every_result_once

log=$(mktemp "${TMPDIR:-/tmp}/tideflow-cluster.XXXXXX")
finish() {
    local code=$?
    trap - EXIT
    # What came of it, behind what cargo says.
    grep '^{' "$log" || true
    rm -f "$log"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The launcher is a program beside the test.
cargo build --locked --workspace --all-features --bins
cargo test --locked --workspace --all-features --test end_to_end -- --exact "$test" --nocapture |
    tee "$log" | sed -u '/^{/d'
# A test by another name would be none.
grep -q '"hosts":3,' "$log" || { echo 'expected a line with 3 hosts, found none' >&2; exit 1; }
