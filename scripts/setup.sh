#!/usr/bin/env bash
# Sets up what building and testing need: `scripts/setup.sh [--install] [PART...]`
#
#   system   looks for what the operating system provides for building and for the demos; prints the
#            one line that installs what is missing (with --install: runs it)
#   tests    the same for what tests, lints and benches use besides: Java and Maven, from which
#            scripts/kafka.sh makes a Kafka, ssh and iproute2, from which
#            terraform/modules/local/hosts.sh makes hosts, rustfmt and clippy
#   python   a Python environment with TensorFlow, from models/training/requirements.txt, shared by
#            all checkouts in ${TIDEFLOW_CACHE:-~/.cache/tideflow} and linked as .tideflow/venv
#   mlflow   an environment with the MLflow server that scripts/mlflow.sh starts, from
#            models/training/requirements-mlflow.txt, linked as .tideflow/venv-mlflow
#   native   .tideflow/native/lib: TensorFlow's native library, from that environment, where programs
#            in this checkout look for it when they load a model
#
# Without a part: all five. What is there already is left alone and not mentioned.
# PYTHON names the interpreter (default: python3), 3.10 to 3.13.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$root/scripts/cache.sh"
cache=$TIDEFLOW_CACHE
python=${PYTHON:-python3}
install=no

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
# Whether this part is to be done.
asked_for() { [[ " ${parts[*]} " == *" $1 "* ]]; }

# Asks the interpreter, once, what it is: sets python_version (3.11, or nothing where it does not
# start), python_build (all it says of itself) and python_venv (yes where it makes environments).
ask_python() {
    [ -z "${python_venv:-}" ] || return 0
    local question='
import sys
try:
    import ensurepip, venv
    able = "yes"
except ImportError:
    able = "no"
print("%d.%d" % sys.version_info[:2], able, sys.version.replace("\n", " "))'
    python_version='' python_venv=no python_build=''
    read -r python_version python_venv python_build < <("$python" -c "$question" 2>/dev/null) || true
    python_venv=${python_venv:-no}
}

# ---- system -------------------------------------------------------------------------------------

# The first Java runtime of at least 17 that this system's package manager knows; its own default
# where it knows none, as before its first update.
java_package() {
    local package
    have apt-cache || { echo openjdk-17-jre-headless; return; }
    for package in openjdk-{17,21,25}-jre-headless; do
        if apt-cache show "$package" >/dev/null 2>&1; then echo "$package"; return; fi
    done
    echo default-jre-headless
}

java_version() { java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1; }

# True where version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

build_packages() {
    have cc || echo gcc
    have c++ || echo g++
    have make || echo make
    if have pkg-config; then
        pkg-config --exists openssl || echo libssl-dev
        pkg-config --exists zlib || echo zlib1g-dev
    else
        echo pkg-config libssl-dev zlib1g-dev
    fi
    # One that was named is not ours to install: `check_python` speaks of it.
    [ -n "${PYTHON:-}" ] && [ -z "$python_version" ] && return
    [ -n "$python_version" ] || echo python3
    [ "$python_venv" = yes ] || echo python3-venv
}

test_packages() {
    local java
    java=$(java_version || true)
    [ "${java:-0}" -ge 17 ] || java_package
    have mvn || echo maven
    have ssh || echo openssh-client
    # Debian's own starts a server of its own where there is an init; tests need the program alone.
    PATH=$PATH:/usr/sbin:/sbin have sshd || echo openssh-server
    PATH=$PATH:/usr/sbin:/sbin have ip || echo iproute2
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
    local cure="install it from https://rustup.rs, then: rustup toolchain install stable -c rustfmt -c clippy"
    found=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2) || true
    [ -n "$found" ] || { say "no Rust; $cure" >&2; return 1; }
    at_least "$found" "$wanted" || { say "Rust $wanted or newer is needed, found $found; $cure" >&2; return 1; }
}

check_rust_tools() {
    local tool
    for tool in fmt clippy; do
        (cd "$root" && cargo "$tool" --version >/dev/null 2>&1) && continue
        say "cargo $tool is missing; run: rustup component add rustfmt clippy" >&2
        return 1
    done
}

check_python() {
    if [ -z "$python_version" ]; then
        [ -z "${PYTHON:-}" ] || { say "PYTHON=$PYTHON does not start" >&2; return 1; }
        return 0
    fi
    if ! at_least "$python_version" 3.10 || ! at_least 3.13 "$python_version"; then
        say "Python 3.10 to 3.13 is needed (TensorFlow has no wheel for others), found" \
            "$python_version; name another with PYTHON=python3.12" >&2
        return 1
    fi
}

missing_packages() {
    if asked_for system; then build_packages; fi
    if asked_for tests; then test_packages; fi
}

# Sets the caller's `packages` anew: what there is to choose from is only known after the update.
install_packages() {
    local sudo=$1
    ${sudo}apt-get update -q
    packages=$(missing_packages | paste -sd ' ')
    say "installing $packages (up to two minutes)"
    # shellcheck disable=SC2086  # a list of packages
    ${sudo}apt-get install -y $packages
    hash -r
    python_venv=''
    ask_python
}

# The parts `system` and `tests`, in one go: what is missing is named in one line.
check_system() {
    local packages sudo='' ok=yes
    ask_python
    packages=$(missing_packages | paste -sd ' ')
    [ "$(id -u)" = 0 ] || sudo='sudo '
    if [ -n "$packages" ] && ! have apt-get; then
        say "something is missing; install what corresponds to these packages of Debian: $packages" >&2
        ok=no
    elif [ -n "$packages" ] && [ "$install" = yes ]; then
        install_packages "$sudo"
    elif [ -n "$packages" ]; then
        say "something is missing; run (or: scripts/setup.sh --install ${parts[*]})" >&2
        echo "${sudo}apt-get update && ${sudo}apt-get install -y $packages" >&2
        ok=no
    fi
    if asked_for system; then
        check_python || ok=no
        check_rust || ok=no
    fi
    if asked_for tests; then check_rust_tools || ok=no; fi
    [ "$ok" = yes ] || exit 1
}

# ---- python -------------------------------------------------------------------------------------

part_python() {
    environment venv requirements.txt '2 GB; one minute, more on a slow line' 'import tensorflow'
}

part_mlflow() {
    environment venv-mlflow requirements-mlflow.txt '850 MB; one minute, more on a slow line' \
        'import mlflow.server'
}

# environment NAME REQUIREMENTS COST PROOF: an environment from that file of models/training, in the
# cache, linked as .tideflow/NAME. The Python line PROOF must run in it.
environment() {
    ask_python
    [ -n "$python_version" ] || fail "$python does not start; run: scripts/setup.sh system"
    local name=$1 requirements=$root/models/training/$2 key venv
    key=$({ grep -v '^#' "$requirements"; echo "$python_build"; } | sha256sum | cut -c 1-12)
    venv=$cache/$name-$key
    if [ ! -f "$venv/.done" ] || [ ! -x "$venv/bin/python" ]; then
        check_python || exit 1
        mkdir -p "$cache"
        (
            # Two checkouts may set up at once: the second waits and finds it done.
            flock 9
            if [ ! -f "$venv/.done" ] || [ ! -x "$venv/bin/python" ]; then
                build_venv "$venv" "$requirements" "$3" "$4"
            fi
        ) 9>"$venv.lock"
    fi
    mkdir -p "$root/.tideflow"
    link "$venv" "$root/.tideflow/$name"
}

# Scripts inside an environment hold its path, so it is built in place; `.done` says it is whole.
build_venv() {
    local venv=$1 requirements=$2 cost=$3 proof=$4
    say "making the Python environment in $venv ($cost)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
        fail "pip could not install $requirements (see above)"
    # TensorFlow greets at length on stderr even when all is well.
    local greeting
    greeting=$("$venv/bin/python" -c "$proof" 2>&1) ||
        fail "\`$proof\` fails in $venv, which was just made: $greeting"
    touch "$venv/.done"
}

# ---- native -------------------------------------------------------------------------------------

part_native() {
    [ -x "$root/.tideflow/venv/bin/python" ] || part_python
    local wheel native=$root/.tideflow/native library
    wheel=$(echo "$root"/.tideflow/venv/lib/python3.*/site-packages/tensorflow)
    for library in cc framework; do
        [ -f "$wheel/libtensorflow_$library.so.2" ] ||
            fail "no libtensorflow_$library.so.2 in $wheel; delete $(readlink "$root/.tideflow/venv") and run this again"
    done
    [ -e "$native/lib/libtensorflow.so" ] || say "linking TensorFlow's native library into .tideflow/native"
    mkdir -p "$native/lib"
    # Relative, through .tideflow/venv: a checkout can be moved. Programs open the plain name; the
    # first library finds the second beside it under the name that it gives itself.
    local from=../../${wheel#"$root/.tideflow/"}
    link "$from/libtensorflow_cc.so.2" "$native/lib/libtensorflow.so"
    link "$from/libtensorflow_framework.so.2" "$native/lib/libtensorflow_framework.so.2"
}

# A symbolic link from $2 to $1, left alone where it is right.
link() {
    [ "$(readlink "$2" 2>/dev/null)" = "$1" ] || ln -sfn "$1" "$2"
}

# ---- main ---------------------------------------------------------------------------------------

parts=()
for argument in "$@"; do
    case $argument in
        --install) install=yes ;;
        system | tests | python | mlflow | native) parts+=("$argument") ;;
        -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        *) fail "unknown part \`$argument\`; there are: system, tests, python, mlflow, native (and --install)" ;;
    esac
done
[ ${#parts[@]} -gt 0 ] || parts=(system tests python mlflow native)
if asked_for system || asked_for tests; then check_system; fi
if asked_for python; then part_python; fi
if asked_for mlflow; then part_mlflow; fi
if asked_for native; then part_native; fi
