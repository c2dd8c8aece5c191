# The sessions of tests/session by both runtimes, each container a scope of systemd; sourced by job.sh.

mkdir -p /etc/moored
for runtime in crun runc; do
    printf 'cgroup-manager = "systemd"\nruntime = "%s"\n' $runtime >/etc/moored/moored.toml
    systemctl start moored.socket
    systemctl restart moored
    [ "$(docker info -f '{{.CgroupDriver}} {{.DefaultRuntime}}')" = "systemd $runtime" ] || fail "$runtime: $(docker info)"
    for session in session bounds; do
        timeout 600 sh /host/$session.sh busybox $((30 * slowness)) || fail "$runtime: $session.sh"
    done
done
rm /etc/moored/moored.toml
systemctl stop moored.service moored.socket
