#!/usr/bin/env bash
# All that can be said of the sources without running them. `scripts/setup.sh` must have run.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cache.sh
. scripts/steps.sh
trap step_failed EXIT

deny_version=0.20.2
tools=$TIDEFLOW_CACHE/tools

install_deny() {
    [ -x "$tools/bin/cargo-deny" ] &&
        [ "$("$tools/bin/cargo-deny" --version)" = "cargo-deny $deny_version" ] && return
    echo "installing cargo-deny $deny_version into $tools (four minutes, once)"
    # In a folder of its own, so that it does not fill the one of this workspace.
    CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" \
        cargo-deny --version "$deny_version"
    rm -rf "$tools/target"
}

# Licences, sources and who may use what: offline, from what cargo has fetched.
deny() {
    install_deny
    cargo fetch --locked --quiet
    "$tools/bin/cargo-deny" --workspace --all-features --locked --offline \
        check -D warnings -A unused-wrapper bans licenses sources
}

scripts() {
    local script
    for script in scripts/*.sh terraform/*/*.sh terraform/modules/*/*.sh .ci/run; do bash -n "$script"; done
}

schemas() {
    .tideflow/venv/bin/check-jsonschema --check-metaschema dataflows/schemas/*.json models/schemas/*.json
    .tideflow/venv/bin/python scripts/check_docs.py
}

step 'format' cargo fmt --all --check
step 'scripts' scripts
step 'schemas and documents' schemas
step 'clippy' cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
RUSTDOCFLAGS=-Dwarnings \
    step 'documentation' cargo doc --locked --no-deps --workspace --all-features
step 'licences and layers' deny
