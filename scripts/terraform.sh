#!/usr/bin/env bash
# The Terraform part, tried: `scripts/terraform.sh [check] [aws] [local]`, all three without an argument.
#
#   check   format; every module and example is valid and passes its tests, on a provider that makes
#           everything up; tflint and checkov
#   aws     examples/complete by the real AWS provider against moto and a stand-in for MSK on loopback:
#           applied, keeps the contract, a second plan is empty, destroyed. No account is touched
#   local   examples/local on this machine, as root: applied, every host is reached and sees nothing of
#           ours, is cut off and comes back, destroyed, nothing is left
#
# The AWS provider (0.7 GB) is not fetched. It is taken from where it lies unpacked on this machine: below
# a folder `registry.terraform.io`, which is looked for, or in TF_PLUGINS=DIR, the folder of that folder.
# Where it does not, all that needs it is skipped, and said so at the end. tflint and checkov are installed
# into ${TIDEFLOW_CACHE:-~/.cache/tideflow} once. The last line counts.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/cache.sh
. terraform/tests/local.sh
root=$PWD
PATH=$PATH:/usr/sbin:/sbin

tflint_version=0.64.0
checkov_version=3.3.30
tools=$TIDEFLOW_CACHE/tools

fail() { echo "terraform.sh: $*" >&2; exit 1; }
. scripts/ports.sh
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' scripts/terraform.sh | sed '$d' >&2; exit 2; }

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(check aws local)
for part in "${parts[@]}"; do
    case $part in check | aws | local) ;; *) usage ;; esac
done
command -v terraform > /dev/null ||
    fail "\`terraform\` is missing, 1.9 or newer: https://developer.hashicorp.com/terraform/install"

work=$(mktemp -d "${TMPDIR:-/tmp}/tideflow-terraform.XXXXXX")
passed=0 failed=0 skipped=() servers=() networks=()

# What is started here ends here, however that comes.
finish() {
    local code=$? network
    trap - EXIT
    for network in "${networks[@]}"; do
        terraform/modules/local/hosts.sh down "$work/$network" "$network" > /dev/null || code=1
    done
    [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2> /dev/null || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- saying how it goes ----------------------------------------------------------------------------

# try NAME COMMAND...: one line when it works, and all that it says when it does not.
try() {
    local name=$1 from=$SECONDS code=0
    shift
    # Not as a condition: within one, errors do not end a function.
    set +e
    (set -e; "$@") > "$work/log" 2>&1
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
        echo "ok       $name ($((SECONDS - from)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED   $name ($((SECONDS - from)) s, code $code): $*"
        tail -n 80 "$work/log" | sed 's/^/         /'
    fi
    return 0
}

# Within a step `! COMMAND` fails nothing.
never() {
    if "$@"; then echo "expected to fail: $*"; return 1; fi
}

eventually() {
    local deadline=$((SECONDS + 15))
    until "$@"; do
        [ $SECONDS -lt $deadline ] || { echo "not within 15 s: $*"; return 1; }
        sleep 0.2
    done
}

skip() {
    skipped+=("$1")
    echo "SKIPPED  $1"
}

summary() {
    local name
    if [ ${#skipped[@]} -gt 0 ]; then
        printf '\n*** SKIPPED, because the AWS provider does not lie unpacked on this machine:\n'
        for name in "${skipped[@]}"; do echo "***     $name"; done
        printf '*** TF_PLUGINS=DIR says where DIR/registry.terraform.io/hashicorp/aws is.\n\n'
    fi
    local word=ok
    [ "$failed" = 0 ] || word=FAILED
    echo "test result: $word. $passed passed; $failed failed; ${#skipped[@]} ignored"
    [ "$failed" = 0 ]
}

# ---- terraform -------------------------------------------------------------------------------------

# Sets `plugins` to where the AWS provider lies, or to nothing.
find_provider() {
    plugins=${TF_PLUGINS:-}
    [ -n "$plugins" ] ||
        plugins=$(find / -xdev -maxdepth 4 -type d -name registry.terraform.io -printf '%h\n' -quit 2> /dev/null) || true
    compgen -G "$plugins/registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*" > /dev/null || plugins=''
}

# Terraform with settings of its own, and nothing from the network.
prepare() {
    export TF_CLI_CONFIG_FILE=$work/terraform.rc CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_INPUT=0
    # shellcheck disable=SC2086  # a list of names
    unset TF_DATA_DIR TF_WORKSPACE TF_PLUGIN_CACHE_DIR ${!TF_CLI_ARGS@} ${!TF_VAR_@}
    printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "${plugins:-$work/none}" \
        > "$TF_CLI_CONFIG_FILE"
    # What Terraform writes beside its files is written beside copies of them; what somebody has applied
    # from here is not looked at.
    mkdir "$work/none" "$work/terraform"
    tar -C terraform --exclude='.terraform*' --exclude='*.tfstate*' --exclude='*.tfvars*' \
        --exclude=./examples/local/hosts -cf - . | tar -C "$work/terraform" -xf -
}

needs_aws() { grep -q hashicorp/aws "terraform/$1/versions.tf"; }

# in_copy FOLDER ARGUMENTS...: terraform there.
in_copy() {
    local folder=$1
    shift
    terraform -chdir="$work/terraform/$folder" "$@"
}

init() { in_copy "$1" init -no-color -backend=false; }

# ---- check -----------------------------------------------------------------------------------------

check() {
    local folder
    try 'format' terraform fmt -check -diff -recursive -no-color terraform
    try 'scripts' scripts
    for folder in modules/{network,storage,kafka,workers,observability,local} examples/{basic,complete,local}; do
        if needs_aws "$folder" && [ -z "$plugins" ]; then
            skip "$folder: init, validate, test"
            continue
        fi
        try "$folder: init" init "$folder"
        try "$folder: validate" in_copy "$folder" validate -no-color
        try "$folder: test" in_copy "$folder" test -no-color
    done
    try 'install tflint' install_tflint
    try 'tflint' tflint
    try 'install checkov' install_checkov
    try 'checkov' checkov
}

scripts() {
    local script
    for script in terraform/*/*.sh terraform/modules/*/*.sh; do bash -n "$script"; done
}

install_tflint() {
    [ ! -x "$tools/bin/tflint-$tflint_version" ] || return 0
    command -v go > /dev/null || fail "tflint wants Go: https://go.dev/dl"
    mkdir -p "$tools/bin"
    # A name of its own, and whole or not at all.
    local new
    new=$(mktemp -d "$tools/tflint.XXXXXX")
    GOBIN=$new GOFLAGS='' GOTOOLCHAIN=local \
        go install -trimpath "github.com/terraform-linters/tflint@v$tflint_version" || { rm -rf "$new"; return 1; }
    mv "$new/tflint" "$tools/bin/tflint-$tflint_version"
    rm -rf "$new"
}

tflint() {
    cd terraform
    TFLINT_DISABLE_VERSION_CHECK=1 "$tools/bin/tflint-$tflint_version" \
        --recursive --config "$root/terraform/.tflint.hcl" --no-color
}

install_checkov() {
    local venv=$TIDEFLOW_CACHE/checkov-$checkov_version
    [ ! -e "$venv/.done" ] || return 0
    mkdir -p "$TIDEFLOW_CACHE"
    (
        # Two checkouts may install it at once: the second waits and finds it done.
        flock 9
        [ ! -e "$venv/.done" ] || exit 0
        rm -rf "$venv"
        "${PYTHON:-python3}" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "checkov==$checkov_version"
        touch "$venv/.done"
    ) 9> "$venv.lock"
}

checkov() {
    "$TIDEFLOW_CACHE/checkov-$checkov_version/bin/checkov" \
        --directory terraform --config-file terraform/.checkov.yaml
}

# ---- aws -------------------------------------------------------------------------------------------

# serve LOG PORT COMMAND...: a server, waited for.
serve() {
    local log=$work/$1 port=$2 pid deadline=$((SECONDS + 60))
    shift 2
    "$@" > "$log" 2>&1 < /dev/null &
    pid=$!
    servers+=("$pid")
    until listening "$port"; do
        kill -0 "$pid" 2> /dev/null || { tail -n 20 "$log" >&2; fail "the server ended: $*"; }
        [ $SECONDS -lt $deadline ] || fail "the server does not answer after a minute: $*"
        sleep 0.1
    done
}

# Every call of the provider goes to loopback, with keys that no account has: never to yours.
emulate() {
    local python=.tideflow/venv/bin/python moto msk
    "$python" -c 'import moto.server' 2> /dev/null ||
        fail "there is no moto in .tideflow/venv; run: scripts/setup.sh python"
    moto=$(free_port)
    serve moto.log "$moto" "$python" terraform/tests/emulated_aws.py "$moto"
    msk=$(free_port)
    serve msk.log "$msk" "$python" terraform/tests/emulated_msk.py "$msk" "$brokers"
    # shellcheck disable=SC2086  # a list of names
    unset ${!AWS_@}
    export AWS_ENDPOINT_URL=http://127.0.0.1:$moto AWS_ENDPOINT_URL_KAFKA=http://127.0.0.1:$msk
    export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=eu-central-1
    export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
    # A call that moto does not have is answered with an error that is tried again, 25 times unless told.
    export AWS_MAX_ATTEMPTS=2 NO_PROXY=127.0.0.1
}

aws() {
    if [ -z "$plugins" ]; then
        skip 'examples/complete by the real provider: apply, second plan, destroy'
        return
    fi
    brokers=b-1.tideflow:9096,b-2.tideflow:9096
    emulate
    try 'examples/complete: init' init examples/complete
    try 'examples/complete: apply' complete apply -auto-approve
    try 'examples/complete: the contract' complete_contract
    # Code 2 is a plan that would change something.
    try 'examples/complete: an empty second plan' complete plan -detailed-exitcode
    try 'examples/complete: destroy' complete destroy -auto-approve
    try 'examples/complete: nothing is left' nothing_left
    try 'examples/complete: no call that moto does not have' never grep -A 2 NotImplementedError "$work/moto.log"
}

complete() {
    local command=$1 key='ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcNnQfJ0DVlQn5FV9gSxQ5oCkUuQ2mGmK1u0oTq3X5v test'
    shift
    timeout 600 terraform -chdir="$work/terraform/examples/complete" "$command" -no-color "$@" \
        -var "ssh_public_key=$key" -var 'ssh_cidrs=["10.1.2.0/24"]' -var 'prometheus_cidrs=["10.1.3.7/32"]' \
        -var 'kafka_client_cidrs=["10.1.4.0/24"]' -var force_destroy=true
}

complete_contract() { in_copy examples/complete output -json | contract "$brokers" s3://; }

nothing_left() {
    local left
    left=$(in_copy examples/complete state list)
    [ -z "$left" ] || { echo "still there: $left"; return 1; }
}

# contract BROKERS STATE: whether the outputs, in JSON, are what the launcher takes.
contract() {
    local question='
import json, re, sys
brokers, state = sys.argv[1:3]
said = {name: output["value"] for name, output in json.load(sys.stdin).items()}
for index, host in enumerate(said["hosts"]):
    assert sorted(host) == ["address", "name"], f"`hosts`: expected a name and an address, found {host}"
    assert host["name"].endswith(f"-{index}"), f"`hosts`: expected number {index}, found {host}"
    assert re.fullmatch(r"10(\.\d+){3}", host["address"]), f"`hosts`: expected a private address, found {host}"
assert len(said["hosts"]) == 3, "`hosts`: expected 3, found {}".format(len(said["hosts"]))
assert said["bootstrap_brokers"] == brokers, "`bootstrap_brokers`: found {}".format(said["bootstrap_brokers"])
assert said["state_url"].startswith(state), "`state_url`: found {}".format(said["state_url"])
assert said["ssh_user"], "`ssh_user` is empty"
'
    "${PYTHON:-python3}" -c "$question" "$@"
}

# ---- main ------------------------------------------------------------------------------------------

find_provider
prepare
for part in "${parts[@]}"; do
    case $part in
        check) check ;;
        aws) aws ;;
        local) local_hosts ;;
    esac
done
summary
