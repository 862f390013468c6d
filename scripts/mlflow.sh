#!/usr/bin/env bash
# An MLflow server on loopback, with its runs in SQLite and its files in a folder: for tests, and for
# a data scientist's own machine.
#
#   scripts/mlflow.sh start  [--dir DIR] [--port PORT] [--while PID [--remove]]
#   scripts/mlflow.sh stop   [--dir DIR]
#   scripts/mlflow.sh status [--dir DIR]
#
# start   prints MLFLOW_TRACKING_URI=http://127.0.0.1:PORT once the server answers: the address for
#         programs, and its pages for a browser. A folder that has run before keeps its port, its runs
#         and its models.
# --dir   runs, models, log and process id; .tideflow/mlflow by default.
# --port  0, the default, takes a free one.
# --while stops the server when that process ends, however it ends.
# --remove then also removes DIR.
#
# Needs `scripts/setup.sh mlflow`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/../.tideflow/venv-mlflow

fail() { echo "mlflow.sh: $*" >&2; exit 1; }
. "$here/ports.sh"
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }

command=${1:-}; [ $# -gt 0 ] && shift
dir=$here/../.tideflow/mlflow; port=0; while_pid=; remove=
while [ $# -gt 0 ]; do
    case $1 in
        --dir) dir=${2:?--dir needs a folder}; shift ;;
        --port) port=${2:?--port needs a number}; shift ;;
        --while) while_pid=${2:?--while needs a process id}; shift ;;
        --remove) remove=yes ;;
        *) usage ;;
    esac
    shift
done

answers() {
    local reply
    reply=$(exec 2> /dev/null
        exec 3<> "/dev/tcp/127.0.0.1/$1" || exit 0
        printf 'GET /health HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n\r\n' "$1" >&3
        timeout 5 head -n 1 <&3)
    [[ "$reply" == HTTP/1.?\ 200* ]]
}

# The server's process id, only if it is still the server of this folder. It leads a process group,
# in which its worker is too.
running() {
    local pid; pid=$(cat "$dir/pid" 2> /dev/null) || return 1
    tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -qF -- "$dir/mlflow.db" || return 1
    echo "$pid"
}

launch() {
    # Detached in its own session, so that Ctrl-C in a terminal does not end it before its clients.
    # It would tell its makers of every start, and keep processes for jobs that nobody gives it.
    MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
        setsid "$venv/bin/mlflow" server --host 127.0.0.1 --port "$1" --workers 1 \
        --backend-store-uri "sqlite:///$dir/mlflow.db" --serve-artifacts \
        --artifacts-destination "$dir/artifacts" > "$dir/mlflow.log" 2>&1 < /dev/null &
    echo $! > "$dir/pid"
    # Before it is ready: whoever wanted it may be gone by then.
    [ -z "$while_pid" ] || watch
    trap 'stop; exit 1' INT TERM
    local deadline=$((SECONDS + 120))
    while [ $SECONDS -lt $deadline ]; do
        running > /dev/null || kill -0 "$(cat "$dir/pid")" 2> /dev/null || return 1
        answers "$1" && return
        sleep 0.2
    done
    return 1
}

# Ends the server once the process that wanted it is gone. A server that ends first is left alone: its
# owner may start it again.
watch() {
    local script='while kill -0 "$1"; do kill -0 "$2" || exit 0; sleep 0.5; done
        kill -- "-$2"; while kill -0 -- "-$2"; do sleep 0.1; done
        [ -z "$4" ] || rm -rf "$3"'
    setsid bash -c "$script" watch "$while_pid" "$(cat "$dir/pid")" "$dir" "$remove" \
        > /dev/null 2>&1 < /dev/null &
}

start() {
    [ -x "$venv/bin/mlflow" ] || fail "no MLflow in $venv; run: scripts/setup.sh mlflow"
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    if running > /dev/null; then fail "a server runs in $dir already: mlflow.sh stop --dir $dir"; fi
    local kept; kept=$(cat "$dir/port" 2> /dev/null || true)
    local use tries=3
    # Another process may take a free port between our look and the server's start: try again.
    while [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        if [ "$port" != 0 ]; then use=$port; else use=${kept:-$(free_port)}; fi
        if listening "$use"; then fail "port $use is taken"; fi
        if launch "$use"; then
            echo "$use" > "$dir/port"
            echo "MLFLOW_TRACKING_URI=http://127.0.0.1:$use"
            return
        fi
        stop
        [ "$port$kept" = 0 ] || break
    done
    tail -n 20 "$dir/mlflow.log" >&2
    fail "the server did not start: $dir/mlflow.log"
}

stop() {
    local pid; pid=$(running) || { rm -f "$dir/pid"; return 0; }
    kill -- "-$pid" 2> /dev/null || true
    for _ in $(seq 200); do kill -0 -- "-$pid" 2> /dev/null || break; sleep 0.05; done
    kill -s KILL -- "-$pid" 2> /dev/null || true
    rm -f "$dir/pid"
}

[ -d "$dir" ] && dir=$(cd "$dir" && pwd)
case $command in
    start) start ;;
    stop) stop ;;
    status)
        if running > /dev/null && answers "$(cat "$dir/port")"; then
            echo "MLFLOW_TRACKING_URI=http://127.0.0.1:$(cat "$dir/port")"
        else
            fail "no server runs in $dir"
        fi ;;
    *) usage ;;
esac
