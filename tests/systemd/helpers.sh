# What jobs inside a bed share; sourced. Each line a job prints is a fact.

export DOCKER_HOST=unix:///run/moored/moored.sock
# How many times longer all may take than on an idle machine.
slowness=${slowness:-1}

fail() {
    echo "FAIL: $*"
    journalctl --no-pager -u moored -n 60
    # Of the job, also out of a subshell.
    kill $$
    exit 1
}
# within SECONDS COMMAND...: waits until it succeeds.
within() {
    local end=$((SECONDS + $1 * slowness))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || fail "in vain: $*"
        sleep 0.05
    done
}
ask() { curl -sf --unix-socket /run/moored/moored.sock "http://d$1"; }
main_pid() { systemctl show -P MainPID moored; }
docker() { timeout $((30 * slowness)) docker "$@" || fail "docker $*"; }

install_moored() {
    install /host/moored /usr/bin/moored
    cp /host/moored.service /host/moored.socket /etc/systemd/system/
}
# Makes the image busybox; the daemon must be there.
make_image() {
    mkdir -p /root-fs/bin
    cp /bin/busybox /root-fs/bin
    chroot /root-fs /bin/busybox --install -s /bin
    tar -C /root-fs -c . | docker import - busybox >/dev/null
}
