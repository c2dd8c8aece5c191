#!/bin/bash
# Boots a copy of this host's file system in a container, with systemd as its first process and a
# cgroup v2 view, and runs SHARE/job.sh in it as root:
#
#   bed.sh NAME SHARE SECONDS
#
# The copy is an overlay whose changes are in memory; SHARE is /host inside. What the job says is in
# SHARE/log, its exit code in SHARE/code, what the container's console says in SHARE/console.
set -euo pipefail
name=$1 share=$2 seconds=$3

# A cgroup of its own in each hierarchy that systemd uses.
groups=()
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    groups+=("/sys/fs/cgroup/$name")
else
    for hierarchy in unified systemd; do
        [ -d "/sys/fs/cgroup/$hierarchy" ] && groups+=("/sys/fs/cgroup/$hierarchy/$name")
    done
fi
clean() {
    for group in "${groups[@]}"; do
        # Whoever is still there, in whatever cgroup below.
        for _ in $(seq 50); do
            find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -9 2>/dev/null || true
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -e "$group" ] || break
            sleep 0.1
        done
    done
}
trap clean EXIT
mkdir -p "${groups[@]}"

boot() {
    local root unit
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/changes /mnt/work /mnt/root
    mount -t overlay -o lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work overlay /mnt/root
    root=/mnt/root
    : >"$root/etc/fstab"
    # Nothing of the host's own is to be started, and nothing that would act on its devices.
    for unit in systemd-sysctl systemd-udevd systemd-udev-trigger systemd-modules-load \
        systemd-networkd systemd-networkd-wait-online systemd-resolved systemd-firstboot; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
    done
    cat >"$root/etc/systemd/system/job.service" <<UNIT
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/bash /host/job.sh >/host/log 2>&1; echo \$\$? >/host/code; systemctl exit 0'
UNIT
    for group in "${groups[@]}"; do
        echo $BASHPID >"$group/cgroup.procs"
    done
    SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 \
        exec timeout -k 5 "$seconds" systemd-nspawn --quiet --register=no --keep-unit \
        --machine=bed --directory="$root" --private-network --capability=all \
        --bind="$share:/host" --tmpfs=/var/lib/moored --boot systemd.unit=job.service
}
export -f boot
export share seconds
export groups_text="${groups[*]}"
unshare --mount --propagation private bash -euo pipefail -c \
    'read -ra groups <<<"$groups_text"; boot' </dev/null >"$share/console" 2>&1
