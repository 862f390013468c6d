# examples/local, tried on this machine: part of scripts/terraform.sh, which sources it, and says what the
# variables and `try` are.
# shellcheck shell=bash disable=SC2016,SC2154  # commands for hosts; variables of terraform.sh

# here COMMAND ARGUMENTS...: terraform on examples/local. Not on a copy: hosts hide the checkout that their
# script is in.
here() {
    local command=$1
    shift
    TF_DATA_DIR=$work/data terraform -chdir="$root/terraform/examples/local" "$command" "$@"
}

# The same with what the hosts are to be.
these() {
    here "$1" -no-color -state="$work/local.tfstate" "${@:2}" \
        -var "name=$network" -var "subnet=$base.0/24" -var "directory=$work/$network"
}

here_contract() { here output -json -state="$work/local.tfstate" | contract "$base.254:9092" /; }

hosts() { "$root/terraform/modules/local/hosts.sh" "$@"; }

# on I COMMAND: what the launcher does, host keys checked.
on() {
    ssh -n -F /dev/null -i "$work/$network/id_ed25519" -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=5 \
        -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$work/$network/known_hosts" \
        "root@$base.$(($1 + 1))" "$2"
}

# Whether host $1 reaches the sshd of host $2.
reaches() { on "$1" "timeout 3 bash -c 'exec 3<> /dev/tcp/$base.$(($2 + 1))/22'"; }

# refused MESSAGE COMMAND...
refused() {
    local expected=$1 said
    shift
    if said=$("$@" 2>&1); then echo "expected a refusal, found: $said"; return 1; fi
    [[ $said == *"$expected"* ]] || { echo "expected \`$expected\`, found: $said"; return 1; }
}

every_host() {
    local index
    for index in 0 1 2; do
        [ "$(on "$index" 'cat /proc/sys/kernel/hostname')" = "$network-$index" ]
        on "$index" "test ! -e '$root/Cargo.toml'"
        on "$index" "test -z \"\$(ls -A /root | grep -v '^\.ssh\$')\""
        on "$index" "test -d /opt/tideflow && test \"\$(ls -A /opt)\" = tideflow && test -z \"\$(ls -A /opt/tideflow)\""
        on "$index" 'test ! -e /run/systemd && test -w /var/lib && ! touch /usr/bin/tideflow 2> /dev/null'
        on "$index" 'test -z "$(cat /proc/net/if_inet6 2> /dev/null)"'
        on "$index" "ip -4 -o addr show dev eth0 | grep -q '$base.$((index + 1))/24'"
        on "$index" "echo $index >> /var/lib/tideflow-shared/seen; echo $index > /tmp/mine"
    done
    [ "$(on 2 'cat /var/lib/tideflow-shared/seen' | paste -sd ' ')" = '0 1 2' ]
    [ "$(on 0 'cat /tmp/mine')" = 0 ]
}

cut_from_peers() {
    reaches 0 1
    hosts cut 0 "$network" PEERS
    never reaches 0 1
    never reaches 1 0
    reaches 1 2
    # It is cut off, and this machine still gets an answer from it.
    on 0 true
    # Who comes back while another one is away does not bring that one back.
    hosts cut 2 "$network" PEERS
    hosts heal 0 "$network"
    eventually reaches 0 1
    never reaches 0 2
    hosts heal 2 "$network"
    eventually reaches 0 2
    eventually reaches 2 1
}

cut_from_everything() {
    hosts cut 1 "$network" ALL
    never on 1 true
    never reaches 0 1
    reaches 0 2
    hosts heal 1 "$network"
    eventually reaches 0 1
    eventually on 1 true
}

# A second network beside the first; neither name nor subnet is given twice.
second_network() {
    local second=${network}b
    refused 'up already' hosts up "$work/other" "$network" "${base%.*}.255.0/24" 1
    refused 'in use' hosts up "$work/other" "$second" "$base.0/24" 1
    refused 'is not empty' hosts up "$work/$network" "$second" "$other.0/24" 1
    refused 'expected a /24' hosts up "$work/other" "$second" 10.0.0.0/16 1
    hosts up "$work/$second" "$second" "$other.0/24" 1
    timeout 3 bash -c "exec 3<> /dev/tcp/$other.1/22"
    never on 0 "timeout 2 bash -c 'exec 3<> /dev/tcp/$other.1/22'"
    hosts down "$work/$second" "$second"
    [ ! -e "$work/$second" ]
    on 0 true
}

no_host_left() {
    local pid
    ip netns list > "$work/left"
    ip -o link show >> "$work/left"
    never grep "$network-" "$work/left"
    [ ! -e "$work/$network" ]
    [ ! -e "/run/tideflow-hosts/$network" ]
    # One that has ended and that nobody asks after has no namespaces any more.
    while read -r pid; do never readlink "/proc/$pid/ns/net"; done < "$work/pids"
}

remember_processes() {
    local index
    for index in 0 1 2; do
        # One that is left by its login, as a worker is.
        on "$index" 'setsid sleep 600 > /dev/null 2>&1 < /dev/null &'
        ip netns pids "$network-$index"
    done > "$work/pids"
    [ "$(wc -l < "$work/pids")" -ge 6 ]
}

local_hosts() {
    [ "$(id -u)" = 0 ] || fail "\`local\` needs root, which alone may make network namespaces: run it with sudo"
    command -v ip > /dev/null || fail "\`ip\` is missing: apt-get install iproute2"
    command -v sshd > /dev/null || fail "\`sshd\` is missing: apt-get install openssh-server"
    network=tf$RANDOM
    base=10.$((64 + RANDOM % 60)).$((RANDOM % 255))
    other=10.$((125 + RANDOM % 60)).$((RANDOM % 255))
    networks+=("$network" "${network}b")
    try 'examples/local: init' here init -no-color
    try 'examples/local: apply' these apply -auto-approve
    try 'examples/local: the contract' here_contract
    try 'examples/local: an empty second plan' these plan -detailed-exitcode
    try 'examples/local: every host is reached, and sees nothing of ours' every_host
    try 'examples/local: a host is cut from the others' cut_from_peers
    try 'examples/local: a host is cut from everything' cut_from_everything
    try 'examples/local: a second network beside it' second_network
    try 'examples/local: processes that outlive their login' remember_processes
    try 'examples/local: destroy' these destroy -auto-approve
    try 'examples/local: nothing is left' no_host_left
}
