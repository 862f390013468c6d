#!/usr/bin/env bash
# A single Apache Kafka broker (KRaft) on loopback, from Maven's jars: for tests, demos and benches.
#
#   scripts/kafka.sh start  [--dir DIR] [--host ADDRESS] [--port PORT] [--secure] [--while PID [--remove]]
#   scripts/kafka.sh stop   [--dir DIR] [--kill]
#   scripts/kafka.sh status [--dir DIR]
#
# start   prints BROKERS=127.0.0.1:PORT once the broker answers. A folder that has run before keeps
#         its address, its port and its data.
# --dir   data, settings, log and process id; .tideflow/kafka by default.
# --host  an address of this machine that clients reach, without encryption: 127.0.0.1 by default.
# --port  0, the default, takes a free one.
# --secure also listens on two encrypted ports, printed as TLS= and SASL=: the certificate is
#         DIR/ca.pem; the login is `tideflow` with `secret`, by PLAIN or SCRAM.
# --while stops the broker when that process ends, however it ends.
# --remove then also removes DIR.
# --kill  stops it the hard way, as a crash would.
#
# Needs Java 17 and Maven; jars are kept in ${TIDEFLOW_CACHE:-~/.cache/tideflow}.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/kafka/pom.xml")
. "$here/cache.sh"
jars=$TIDEFLOW_CACHE/kafka-$version

fail() { echo "kafka.sh: $*" >&2; exit 1; }
. "$here/ports.sh"
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }

command=${1:-}; [ $# -gt 0 ] && shift
dir=$here/../.tideflow/kafka; host=; port=0; secure=; while_pid=; remove=; signal=TERM
while [ $# -gt 0 ]; do
    case $1 in
        --dir) dir=${2:?--dir needs a folder}; shift ;;
        --host) host=${2:?--host needs an address}; shift ;;
        --port) port=${2:?--port needs a number}; shift ;;
        --while) while_pid=${2:?--while needs a process id}; shift ;;
        --secure) secure=yes ;;
        --remove) remove=yes ;;
        --kill) signal=KILL ;;
        *) usage ;;
    esac
    shift
done

# The broker's own jar in this folder; a folder without it is of no use.
has_broker() { compgen -G "$1/kafka_*-$version.jar" > /dev/null; }

# Whole or not at all: a second start may be filling the same cache.
fetch_jars() {
    has_broker "$jars" && return
    command -v mvn > /dev/null || fail "Maven is missing: apt-get install maven"
    mkdir -p "$(dirname "$jars")"
    local new; new=$(mktemp -d "$jars.XXXXXX")
    mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$new" >&2 \
        || { rm -rf "$new"; fail "Maven could not fetch the jars of Kafka $version"; }
    has_broker "$new" || { rm -rf "$new"; fail "Maven fetched no jar of Kafka $version"; }
    chmod 755 "$new"
    has_broker "$jars" || rm -rf "$jars"
    mv -T "$new" "$jars" 2> /dev/null || rm -rf "$new"
}

# Asks for metadata (version 7, no topics) as a client would: the answer must list one broker,
# which it does only once the broker may be used.
answers() {
    local reply
    reply=$(exec 2> /dev/null
        exec 3<> "/dev/tcp/$host/$1" || exit 0
        printf '\x00\x00\x00\x0f\x00\x03\x00\x07\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00\x00' >&3
        timeout 2 head -c 16 <&3 | od -An -v -tx1 | tr -d ' \n')
    [ "${reply:24:8}" = 00000001 ]
}

# The broker's process id, only if it is still the broker of this folder.
running() {
    local pid; pid=$(cat "$dir/pid" 2> /dev/null) || return 1
    tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -qF -- "$dir/server.properties" || return 1
    echo "$pid"
}

write_settings() {
    local controller=$2 listeners=CLIENTS://$host:$1
    local map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
    if [ -n "$secure" ]; then
        listeners=$listeners,TLS://127.0.0.1:$tls,SASL://127.0.0.1:$sasl
        map=$map,TLS:SSL,SASL:SASL_SSL
    fi
    cat > "$dir/server.properties" << P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=$listeners,CONTROLLER://127.0.0.1:$controller
advertised.listeners=$listeners
listener.security.protocol.map=$map
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs=$dir/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
# A killed broker may come back only when its last session has ended: not the default of 9 s.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
# Simulated event time lies in the past: retention by time would delete it at once.
log.retention.ms=-1
# A transaction that was open for too long is ended soon: not at the next of the default's 10 s.
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
# A topic that may be compacted at once is: not after the default of 15 s.
log.cleaner.backoff.ms=500
P
    [ -z "$secure" ] || secure_settings >> "$dir/server.properties"
}

secure_settings() {
    local login=org.apache.kafka.common.security mechanism
    cat << P
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/broker.p12
ssl.keystore.password=changeit
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_tideflow="secret";
P
    for mechanism in 256 512; do
        echo "listener.name.sasl.scram-sha-$mechanism.sasl.jaas.config=$login.scram.ScramLoginModule required;"
    done
    [ -e "$dir/ca.pem" ] && return
    keytool -genkeypair -alias broker -keyalg RSA -dname CN=127.0.0.1 -ext san=ip:127.0.0.1 \
        -validity 3650 -storetype PKCS12 -keystore "$dir/broker.p12" -storepass changeit 2> /dev/null
    keytool -exportcert -rfc -alias broker -keystore "$dir/broker.p12" -storepass changeit \
        > "$dir/ca.pem" 2> /dev/null
}

prepare() {
    mkdir -p "$dir/data"
    write_settings "$1" "$(free_port)"
    [ -e "$dir/data/meta.properties" ] && return
    # One short run: the optimizing compiler would only cost.
    java -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool format \
        --cluster-id dGlkZWZsb3ctdGVzdHMhIQ --config "$dir/server.properties" \
        ${secure:+--add-scram "SCRAM-SHA-256=[name=tideflow,password=secret]"} \
        ${secure:+--add-scram "SCRAM-SHA-512=[name=tideflow,password=secret]"} \
        > "$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; return 1; }
}

launch() {
    # Detached in its own session, so that Ctrl-C in a terminal does not end it before its clients.
    setsid java -Xms256m -Xmx1g -XX:+ExitOnOutOfMemoryError -Dlog4j2.level=WARN -cp "$jars/*" \
        kafka.Kafka "$dir/server.properties" > "$dir/kafka.log" 2>&1 < /dev/null &
    echo $! > "$dir/pid"
    # Before it is ready: whoever wanted it may be gone by then.
    [ -z "$while_pid" ] || watch
    trap 'stop; exit 1' INT TERM
    # A busy disk may hold it up for a minute.
    local deadline=$((SECONDS + 180))
    while [ $SECONDS -lt $deadline ]; do
        running > /dev/null || kill -0 "$(cat "$dir/pid")" 2> /dev/null || return 1
        answers "$1" && return
        sleep 0.1
    done
    return 1
}

# Ends the broker once the process that wanted it is gone. A broker that ends first is left alone:
# its owner may start it again.
watch() {
    local script='while kill -0 "$1"; do kill -0 "$2" || exit 0; sleep 0.5; done
        kill "$2"; while kill -0 "$2"; do sleep 0.1; done
        [ -z "$4" ] || rm -rf "$3"'
    setsid bash -c "$script" watch "$while_pid" "$(cat "$dir/pid")" "$dir" "$remove" \
        > /dev/null 2>&1 < /dev/null &
}

start() {
    command -v java > /dev/null || fail "Java is missing: apt-get install openjdk-17-jre-headless"
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    if running > /dev/null; then fail "a broker runs in $dir already: kafka.sh stop --dir $dir"; fi
    fetch_jars
    local kept; kept=$(cat "$dir/port" 2> /dev/null || true)
    local use tries=3
    # Another process may take a free port between our look and the broker's start: try again.
    while [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        if [ "$port" != 0 ]; then use=$port; else use=${kept:-$(free_port "$host")}; fi
        if listening "$use" "$host"; then fail "port $use is taken"; fi
        tls=$(free_port); sasl=$(free_port)
        prepare "$use" || fail "could not format $dir/data"
        if launch "$use"; then
            echo "$use" > "$dir/port"
            echo "$host" > "$dir/host"
            echo "BROKERS=$host:$use"
            [ -z "$secure" ] || printf 'TLS=127.0.0.1:%s\nSASL=127.0.0.1:%s\n' "$tls" "$sasl"
            return
        fi
        stop
        [ "$port$kept" = 0 ] || break
    done
    tail -n 20 "$dir/kafka.log" >&2
    fail "the broker did not start: $dir/kafka.log"
}

stop() {
    local pid; pid=$(running) || { rm -f "$dir/pid"; return 0; }
    kill -s "$signal" "$pid" 2> /dev/null || true
    for _ in $(seq 200); do kill -0 "$pid" 2> /dev/null || break; sleep 0.05; done
    kill -s KILL "$pid" 2> /dev/null || true
    rm -f "$dir/pid"
}

[ -d "$dir" ] && dir=$(cd "$dir" && pwd)
: "${host:=$(cat "$dir/host" 2> /dev/null || echo 127.0.0.1)}"
case $command in
    start) start ;;
    stop) stop ;;
    status)
        if running > /dev/null && answers "$(cat "$dir/port")"; then
            echo "BROKERS=$host:$(cat "$dir/port")"
        else
            echo "no broker runs in $dir"; exit 1
        fi ;;
    *) usage ;;
esac
