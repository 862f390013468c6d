#!/usr/bin/env bash
# Hosts on one Linux machine: network namespaces on a bridge, each with an address, a disk and an sshd of
# its own. A host sees the system's programs and what is put on it, and nothing else of this machine.
#
#   hosts.sh up   DIR NAME SUBNET N    makes the hosts NAME-0 to NAME-(N-1)
#   hosts.sh down DIR NAME             ends all that runs on them, and removes all
#   hosts.sh cut  I NAME PEERS|ALL     takes host NAME-I away from the other hosts, or from everything
#   hosts.sh heal I NAME               brings it back
#
# up      SUBNET is a /24 that nothing uses, as 10.77.5.0/24: hosts are .1, .2, …, and this machine is .254
#         to them. NAME is 1 to 10 of a-z 0-9. DIR, which is empty or not there yet, gets id_ed25519, which
#         logs in as root; known_hosts; hosts.json, [{"name": …, "address": …}, …]; NAME-I.log of sshd; the
#         hosts' disks; and `shared`, which is /var/lib/tideflow-shared on all hosts.
#         HIDE=PATH:PATH names more that hosts must not see, besides the checkout, the caches of builds,
#         /home, /opt, /root and the like.
# cut     PEERS: packets between it and the others are lost without a word, and it still reaches this
#         machine. ALL: its cable is out.
#
# Needs root, iproute2 and openssh-server. Two networks at a time need two names and two subnets.
set -euo pipefail
umask 022
PATH=$PATH:/usr/sbin:/sbin
self=$(realpath "${BASH_SOURCE[0]}")
# What is known of hosts that are up: a folder for each NAME.
all=/run/tideflow-hosts

fail() { echo "hosts.sh: $*" >&2; exit 1; }
usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$self" | sed '$d' >&2; exit 2; }

# ---- what is asked for -----------------------------------------------------------------------------

check_name() {
    [[ $1 =~ ^[a-z][a-z0-9]{0,9}$ ]] ||
        fail "name \`$1\`: expected 1 to 10 of a-z 0-9 with a letter in front"
}

# Sets `base` to the first three numbers of the subnet.
check_subnet() {
    local part='(0|[1-9][0-9]{0,2})'
    [[ $1 =~ ^$part\.$part\.$part\.0/24$ ]] || fail "subnet \`$1\`: expected a /24, as 10.77.5.0/24"
    local number
    for number in "${BASH_REMATCH[@]:1}"; do
        [ "$number" -le 255 ] || fail "subnet \`$1\`: expected numbers up to 255, found $number"
    done
    base=${1%.0/24}
}

check_count() {
    [[ $1 =~ ^[1-9][0-9]?$ ]] && [ "$1" -le 32 ] || fail "$1 hosts: expected a number from 1 to 32"
}

need() {
    [ "$(id -u)" = 0 ] || fail "this needs root, which alone may make network namespaces: run it with sudo"
    command -v ip > /dev/null || fail "\`ip\` is missing: apt-get install iproute2"
    command -v unshare > /dev/null || fail "\`unshare\` is missing: apt-get install util-linux"
}

need_sshd() {
    sshd=$(command -v sshd) || fail "\`sshd\` is missing: apt-get install openssh-server"
    command -v ssh-keygen > /dev/null || fail "\`ssh-keygen\` is missing: apt-get install openssh-client"
}

# One at a time: two networks that come up at once could take the same subnet. What is started from here
# must not inherit the lock: `9>&-`.
lock() {
    mkdir -p "$all"
    exec 9> "$all/lock"
    flock 9
}

# Sets `base` and `count` to those of hosts that are up.
find_up() {
    [ -e "$all/$1/count" ] || fail "no hosts \`$1\` are up"
    base=$(cat "$all/$1/base")
    count=$(cat "$all/$1/count")
}

# The hardware address of number $1 of the network: always the same, so that nobody has to ask again.
mac() {
    local a b c
    IFS=. read -r a b c <<< "$base"
    printf '02:00:%02x:%02x:%02x:%02x' "$a" "$b" "$c" "$1"
}

# ---- up --------------------------------------------------------------------------------------------

# Routes that this machine has to addresses of the subnet, but those to nearly everywhere.
uses_of() {
    { ip -4 -o route show table all root "$1"; ip -4 -o route show table all match "$1"; } |
        grep -Ev '(^| )(default|[0-9.]+/[0-7])( |$)' || true
}

check_free() {
    local name=$1 subnet=$2 amount=$3 index used
    for index in br $(seq 0 $((amount - 1))); do
        if ip link show "$name-$index" > /dev/null 2>&1 || [ -e "/run/netns/$name-$index" ]; then
            fail "\`$name-$index\` is there already, and not from here: choose another name"
        fi
    done
    used=$(uses_of "$subnet")
    [ -z "$used" ] || fail "subnet $subnet is in use: ${used%%$'\n'*}"
}

# What hosts must not see: the checkout that this file is in, and caches of builds.
hidden() {
    local checkout=${self%/*/*/*/*} folder
    [ -e "$checkout/Cargo.toml" ] || checkout=''
    for folder in "$checkout" "${TIDEFLOW_CACHE:-}" "${CARGO_TARGET_DIR:-}" "${CARGO_HOME:-}" "${RUSTUP_HOME:-}"; do
        [[ $folder != /?* ]] || printf '%s:' "$folder"
    done
    printf '%s' "${HIDE:-}"
}

no_ipv6() {
    local file=/proc/sys/net/ipv6/conf/$1/disable_ipv6
    if [ -e "$file" ]; then echo 1 > "$file"; fi
}

# What /etc of a bare node has, and no key or password of this machine.
fill_etc() {
    local etc=$1 host=$2 entry
    for entry in alternatives bash.bashrc ca-certificates ca-certificates.conf crypto-policies \
        debian_version environment group host.conf inputrc ld.so.cache ld.so.conf ld.so.conf.d locale.conf \
        localtime login.defs mtab nsswitch.conf os-release passwd pki profile profile.d protocols \
        redhat-release rpc services shells ssl system-release terminfo timezone; do
        if [ -e "/etc/$entry" ]; then cp -a "/etc/$entry" "$etc/"; fi
    done
    rm -rf "$etc/ssl/private" "$etc/pki/tls/private"
    echo "$host" > "$etc/hostname"
    { echo '127.0.0.1 localhost'; cat "$directory/addresses"; } > "$etc/hosts"
    # Nobody has a password, and root is not locked: some systems lock him, and sshd then takes no key.
    echo 'root:*:19000:0:99999:7:::' > "$etc/shadow"
    chmod 600 "$etc/shadow"
    cat > "$etc/ssh/sshd_config" << S
Port 22
AddressFamily inet
ListenAddress $3
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile none
AllowUsers root
PermitRootLogin prohibit-password
AuthenticationMethods publickey
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
AuthorizedKeysFile .ssh/authorized_keys
X11Forwarding no
PrintMotd no
MaxStartups 64
MaxSessions 64
Subsystem sftp internal-sftp
S
}

# The host's disk, $directory/NAME-I: a folder for each one of this machine that it has its own of.
make_disk() {
    local host=$1 address=$2 own=$directory/$1
    mkdir -p "$own"/{etc/ssh,home,media,mnt,opt/tideflow,root/.ssh,run/sshd,srv,tmp,var-lib,var-log,var-tmp} \
        "$own/var-lib/tideflow-shared"
    chmod 700 "$own/root" "$own/root/.ssh"
    chmod 1777 "$own/tmp" "$own/var-tmp"
    ssh-keygen -q -t ed25519 -N '' -C "$host" -f "$own/etc/ssh/ssh_host_ed25519_key"
    install -m 600 "$directory/id_ed25519.pub" "$own/root/.ssh/authorized_keys"
    fill_etc "$own/etc" "$host" "$address"
    echo "$host,$address $(cut -d ' ' -f 1,2 "$own/etc/ssh/ssh_host_ed25519_key.pub")" >> "$directory/known_hosts"
}

make_network() {
    ip link add "$name-br" address "$(mac 254)" type bridge
    no_ipv6 "$name-br"
    ip addr add "$base.254/24" dev "$name-br"
    ip link set "$name-br" up
}

# A namespace with eth0, whose other end is on the bridge under the host's name.
plug_in() {
    local host=$1 number=$2
    ip netns add "$host"
    # Before it has an interface, which would give itself an address.
    ip netns exec "$host" sh -c \
        'for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ ! -e "$file" ] || echo 1 > "$file"; done'
    ip link add "$host" type veth peer name eth0 netns "$host"
    no_ipv6 "$host"
    ip link set "$host" master "$name-br"
    ip link set "$host" up
    ip -n "$host" link set lo up
    ip -n "$host" link set eth0 address "$(mac "$number")"
    ip -n "$host" addr add "$base.$number/24" dev eth0
    ip -n "$host" link set eth0 up
}

# In mounts of its own, and without what is in this environment. The process becomes the host's sshd.
start() {
    local host=$1
    setsid env -i PATH="$PATH" ip netns exec "$host" \
        unshare --mount --uts --ipc --propagation private \
        bash "${self%/*}/host.sh" "$host" "$directory" "$all/$name/stage" "$sshd" "$(hidden)" \
        > "$directory/$host.log" 2>&1 < /dev/null 9>&- &
    pids+=($!)
}

# Whether an sshd greets at that address.
greets() {
    local word
    word=$(exec 2> /dev/null
        exec 3<> "/dev/tcp/$1/22" || exit 0
        timeout 2 head -c 4 <&3)
    [ "$word" = SSH- ]
}

await() {
    local host=$1 address=$2 pid=$3 deadline=$((SECONDS + 20))
    until greets "$address"; do
        if ! kill -0 "$pid" 2> /dev/null; then
            tail -n 5 "$directory/$host.log" >&2
            fail "\`$host\` did not come up: its last words are above"
        fi
        [ $SECONDS -lt $deadline ] || fail "\`$host\` does not answer at $address after 20 s"
        sleep 0.05
    done
}

up() {
    [ $# = 4 ] || usage
    name=$2 count=$4
    check_name "$name"
    check_subnet "$3"
    check_count "$count"
    need
    need_sshd
    lock
    if [ -e "$all/$name" ]; then
        if [ -e "/run/netns/$name-0" ] || ip link show "$name-br" > /dev/null 2>&1; then
            fail "hosts \`$name\` are up already: hosts.sh down $(cat "$all/$name/directory") $name"
        fi
        # Of before this machine was started.
        rm -rf "${all:?}/$name"
    fi
    check_free "$name" "$3" "$count"
    mkdir -p "$1"
    directory=$(cd "$1" && pwd)
    [ -z "$(ls -A "$directory")" ] || fail "\`$directory\` is not empty: hosts want a folder of their own"

    # From here on whatever goes wrong is taken back.
    trap 'code=$?; trap - EXIT; remove "$directory" "$name"; exit $code' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$all/$name/stage"
    echo "$directory" > "$all/$name/directory"
    echo "$base" > "$all/$name/base"
    echo "$count" > "$all/$name/count"
    echo "$name" > "$directory/.hosts"
    chmod 700 "$directory"
    mkdir "$directory/shared"
    make_hosts
    trap - EXIT INT TERM
    echo "hosts $name-0 to $name-$((count - 1)) are up, for root with $directory/id_ed25519;" \
        "this machine is $base.254 to them"
}

make_hosts() {
    local index host entries=()
    pids=()
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$directory/id_ed25519"
    for index in $(seq 0 $((count - 1))); do
        echo "$base.$((index + 1)) $name-$index" >> "$directory/addresses"
        entries+=("{\"name\": \"$name-$index\", \"address\": \"$base.$((index + 1))\"}")
    done
    make_network
    for index in $(seq 0 $((count - 1))); do
        host=$name-$index
        plug_in "$host" $((index + 1))
        make_disk "$host" "$base.$((index + 1))"
        start "$host"
    done
    for index in $(seq 0 $((count - 1))); do
        await "$name-$index" "$base.$((index + 1))" "${pids[index]}"
    done
    # Last: who finds it finds hosts that answer.
    (IFS=,; echo "[${entries[*]}]") > "$directory/hosts.json"
}

# ---- down ------------------------------------------------------------------------------------------

# Ends what runs in a host, and whatever that starts meanwhile.
end_processes() {
    local host=$1 deadline=$((SECONDS + 10)) running
    while true; do
        running=$(ip netns pids "$host" | paste -sd ' ')
        [ -n "$running" ] || return 0
        [ $SECONDS -lt $deadline ] || fail "processes of \`$host\` do not end: $running"
        # shellcheck disable=SC2086  # a list of numbers
        kill -s KILL $running 2> /dev/null || true
        sleep 0.05
    done
}

# remove DIR NAME: whatever there is of it.
remove() {
    local directory=$1 name=$2 index host
    if [ -e "$all/$name/count" ]; then
        for index in $(seq 0 $(($(cat "$all/$name/count") - 1))); do
            host=$name-$index
            if [ -e "/run/netns/$host" ]; then end_processes "$host"; fi
            ip link del "$host" 2> /dev/null || true
            if [ -e "/run/netns/$host" ]; then ip netns del "$host"; fi
        done
        ip link del "$name-br" 2> /dev/null || true
    fi
    rm -rf "${all:?}/$name"
    if [ "$(cat "$directory/.hosts" 2> /dev/null)" = "$name" ]; then
        rm -rf --one-file-system "$directory"/{shared,id_ed25519,id_ed25519.pub,known_hosts,hosts.json,addresses} \
            "$directory/$name"-* "$directory/.hosts"
        # What somebody else has put there stays.
        rmdir "$directory" 2> /dev/null || true
    fi
}

down() {
    [ $# = 2 ] || usage
    check_name "$2"
    need
    lock
    local directory=$1
    if [ -e "$all/$2/directory" ]; then
        directory=$(cat "$all/$2/directory")
        [ "$(realpath -m "$1")" = "$(realpath -m "$directory")" ] ||
            fail "hosts \`$2\` are those of \`$directory\`, not of \`$1\`"
    fi
    remove "$directory" "$2"
    echo "hosts $2 are gone"
}

# ---- cut and heal ----------------------------------------------------------------------------------

check_index() {
    [[ $1 =~ ^(0|[1-9][0-9]?)$ ]] && [ "$1" -lt "$count" ] ||
        fail "host \`$1\`: expected a number from 0 to $((count - 1))"
}

# lose FROM TO: what the one host sends to the other goes to itself, and the bridge sends nothing back
# to where it came from. Whoever waits for an answer waits, as when a switch is broken.
lose() {
    ip -n "$name-$1" neigh replace "$base.$(($2 + 1))" lladdr "$(mac $(($1 + 1)))" dev eth0 nud permanent
}

find_again() { ip -n "$name-$1" neigh del "$base.$(($2 + 1))" dev eth0 2> /dev/null || true; }

cut_off() {
    [ $# = 3 ] || usage
    name=$2
    local index=$1 other
    check_name "$name"
    need
    lock
    find_up "$name"
    check_index "$index"
    case $3 in
        PEERS)
            for other in $(seq 0 $((count - 1))); do
                [ "$other" != "$index" ] || continue
                lose "$index" "$other"
                lose "$other" "$index"
            done
            touch "$all/$name/cut-$index" ;;
        ALL) ip link set "$name-$index" down ;;
        *) fail "cut from \`$3\`: expected PEERS or ALL" ;;
    esac
    echo "$name-$index is cut from $([ "$3" = ALL ] && echo everything || echo the other hosts)"
}

heal() {
    [ $# = 2 ] || usage
    name=$2
    local index=$1 other
    check_name "$name"
    need
    lock
    find_up "$name"
    check_index "$index"
    ip link set "$name-$index" up
    rm -f "$all/$name/cut-$index"
    for other in $(seq 0 $((count - 1))); do
        # One that is cut off itself stays so.
        if [ "$other" = "$index" ] || [ -e "$all/$name/cut-$other" ]; then continue; fi
        find_again "$index" "$other"
        find_again "$other" "$index"
    done
    echo "$name-$index is back"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
    up) up "$@" ;;
    down) down "$@" ;;
    cut) cut_off "$@" ;;
    heal) heal "$@" ;;
    *) usage ;;
esac
