#!/usr/bin/env bash
# What hosts.sh runs within the namespaces of a host: puts its disk where programs look for it, hides what
# it must not see, and becomes its sshd.
#
#   host.sh HOST DIR STAGE SSHD HIDE
#
# HOST has its disk in DIR/HOST; STAGE is an empty folder below /run; HIDE is paths with `:` between them.
set -euo pipefail
host=$1 directory=$2 stage=$3 sshd=$4
IFS=: read -r -a hide <<< "$5"

# A folder of the disk in place of one that this machine has.
cover() {
    if [ -d "/$1" ]; then mount --rbind "$stage/${1//\//-}" "/$1"; fi
}

cd /
echo "$host" > /proc/sys/kernel/hostname
# Some of what is covered here holds DIR: from now on the disk is reached by its other name.
mount --bind "$directory/$host" "$stage"
mount --bind "$directory/shared" "$stage/var-lib/tideflow-shared"
# What has no place on the disk is this machine's, and not to be written to.
mount -o remount,bind,ro /
for folder in etc home media mnt opt root srv tmp var/lib var/log var/tmp; do cover "$folder"; done
if [ -d /dev/shm ]; then mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm; fi
for folder in "${hide[@]}"; do
    if [ -n "$folder" ] && [ -d "$folder" ]; then mount -t tmpfs -o ro,size=4k,mode=755 hidden "$folder"; fi
done
# Last: the disk's other name lies in there.
cover run
exec "$sshd" -D -e -f /etc/ssh/sshd_config
