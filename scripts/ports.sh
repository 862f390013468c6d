# For scripts that start servers; sourced. What is wrong is said by the script's own `fail`.

# listening PORT [HOST]
listening() { (exec 3<> "/dev/tcp/${2:-127.0.0.1}/$1") 2> /dev/null; }

# free_port [HOST]: below the ports that outgoing connections are given, so that none of those can take it.
free_port() {
    local try
    for _ in $(seq 100); do
        try=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        listening "$try" "$@" || { echo "$try"; return; }
    done
    fail "no free port between 20000 and 32000"
}
