#!/usr/bin/env bash
# Everything, from nothing: set-up, lints, the tests in Python, and all Rust tests with one
# Apache Kafka shared by those that need a broker. The last line counts the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/steps.sh

work=$(mktemp -d "${TMPDIR:-/tmp}/tideflow-test.XXXXXX")
# What tests leave behind goes with the rest.
export TMPDIR=$work
began=$SECONDS

finish() {
    local code=$?
    trap - EXIT
    scripts/kafka.sh stop --kill --dir "$work/kafka" || true
    step_failed
    printf '\n%d s in all\n' $((SECONDS - began))
    summary
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Adds up what the test programs say of themselves.
summary() {
    [ -f "$work/tests.log" ] || { echo 'no test was run'; return; }
    awk '
        # cargo: test result: ok. 3 passed; 0 failed; 1 ignored; ...
        /^test result: / { for (i = 2; i <= NF; i++) count[$i] += $(i - 1) }
        # pytest: 41 passed, 1 failed in 3.21s
        / in [0-9.]+s( |$)/ && !/^test / { for (i = 2; i <= NF; i++) count[$i] += $(i - 1) }
        function of(name) { return count[name] + count[name ","] + count[name ";"] }
        END {
            printf "%d passed, %d failed", of("passed"), of("failed") + of("error") + of("errors")
            ignored = of("ignored") + of("skipped")
            if (ignored) printf ", %d ignored", ignored
            printf "\n"
        }' "$work/tests.log"
}

start_kafka() {
    local line
    # Should this script be killed outright, the broker still ends.
    line=$(scripts/kafka.sh start --dir "$work/kafka" --while $$ --remove)
    echo "$line"
    export TIDEFLOW_TEST_BROKERS=${line#BROKERS=}
}

tests=(cargo test --locked --workspace --all-features)
# What a library without TensorFlow is: elsewhere the feature is always on.
plain=(cargo test --locked --package tideflow-models --lib)

step 'set-up' scripts/setup.sh
scripts/lint.sh
step 'build the tests' "${tests[@]}" --no-run
step 'build without TensorFlow' "${plain[@]}" --no-run
step 'start Kafka' start_kafka
step_log=$work/tests.log
step 'Terraform' scripts/terraform.sh
step 'training package' .tideflow/venv/bin/python -m pytest -q models/training
step 'plots' .tideflow/venv/bin/python -m pytest -q demo/tests
step 'scores of the quality report' .tideflow/venv/bin/python -m pytest -q benches/quality
step 'goals of the benches' .tideflow/venv/bin/python -m pytest -q benches/goals
step 'tests without TensorFlow' "${plain[@]}"
step 'tests' "${tests[@]}" --no-fail-fast
