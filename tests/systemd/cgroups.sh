# Containers and their conmons as scopes of systemd; sourced by job.sh, whose helpers it uses. Leaves
# nothing.

say_manager() {
    mkdir -p /etc/moored
    printf 'cgroup-manager = "%s"\n' "$1" >/etc/moored/moored.toml
}
# in_scope UNIT: the processes of a scope; crun has a cgroup of its own in it.
in_scope() { find "/sys/fs/cgroup$(systemctl show -P ControlGroup "$1")" -name cgroup.procs -exec cat {} +; }
slice_of() { systemctl show -P Slice "$1"; }
no_units() { [ -z "$(systemctl list-units --all --plain --no-legend 'moored-*.scope')" ]; }

# crun speaks to the bus alone.
systemctl start dbus.socket dbus.service || fail "no bus"
say_manager systemd
systemctl start moored.socket
[ "$(docker info -f '{{.CgroupDriver}}')" = systemd ] || fail "info says another driver"

for runtime in runc crun; do
    # crun sets a limit of locked memory for its device program, which takes CAP_SYS_RESOURCE.
    if [ $runtime = crun ] && moored check 2>&1 | grep -q 'RLIM_MEMLOCK'; then
        echo "crun does not run here: no CAP_SYS_RESOURCE"
        continue
    fi
    docker run -d --name it --runtime $runtime --network none busybox sleep 1000 >/dev/null
    id=$(docker inspect -f '{{.Id}}' it)
    pid=$(docker inspect -f '{{.State.Pid}}' it)
    conmon=$(pgrep -f "conmon .*-c $id")
    [ "$(slice_of "moored-$id.scope")" = moored.slice ] || fail "$runtime: the container is not in our slice"
    in_scope "moored-$id.scope" | grep -qx "$pid" || fail "$runtime: the container is not in its scope"
    [ "$(slice_of "moored-conmon-$id.scope")" = moored.slice ] || fail "conmon is not in our slice"
    [ "$(in_scope "moored-conmon-$id.scope")" = "$conmon" ] || fail "conmon is not in its scope"
    docker exec -d it sleep 1000
    within 5 sh -c "[ \"\$(wc -l <'/sys/fs/cgroup$(systemctl show -P ControlGroup "moored-conmon-$id.scope")/cgroup.procs')\" = 2 ]"
    [ "$(docker exec it sh -c "echo said")" = said ] || fail "$runtime: exec"
    docker pause it >/dev/null
    [ "$(docker inspect -f '{{.State.Status}}' it)" = paused ] || fail "$runtime: pause"
    docker unpause it >/dev/null
    systemctl restart moored || fail "restart"
    [ "$(docker inspect -f '{{.State.Pid}} {{.State.Status}}' it)" = "$pid running" ] || fail "$runtime: it was not left alone"
    [ "$(pgrep -f "conmon .*-c $id -u $id ")" = "$conmon" ] || fail "$runtime: its conmon was not left alone"
    [ "$(docker exec it sh -c "echo again")" = again ] || fail "$runtime: exec after a restart"
    docker stop -t 0 it >/dev/null
    [ "$(docker inspect -f '{{.State.ExitCode}}' it)" = 137 ] || fail "$runtime: its code"
    within 5 no_units
    docker start it >/dev/null
    docker rm -f it >/dev/null
    within 5 no_units

    # At a shutdown systemd stops it as we do.
    docker run -d --name it --runtime $runtime --stop-signal INT --stop-timeout 7 --cgroup-parent other-one.slice --network none busybox sleep 1000 >/dev/null
    id=$(docker inspect -f '{{.Id}}' it)
    [ "$(slice_of "moored-$id.scope")" = other-one.slice ] || fail "$runtime: the parent it asked for"
    [ "$(slice_of "moored-conmon-$id.scope")" = moored.slice ] || fail "conmon is the daemon's"
    [ "$(systemctl show -P KillSignal -P TimeoutStopUSec "moored-$id.scope" | tr '\n' ' ')" = "7s 2 " ] ||
        fail "$runtime: $(systemctl show "moored-$id.scope" | grep -E 'KillSignal|TimeoutStop')"
    docker rm -f it >/dev/null
    within 5 no_units
    echo "scopes are where they should be, and gone afterwards: $runtime"
done
said=$(timeout 30 docker create --cgroup-parent /some/where --network none busybox true 2>&1)
[[ $said == *'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'* ]] || fail "a parent that is no slice: $said"

# One that systemd made is still known where cgroups are directories, and the other way round.
docker run -d --name it --network none busybox sleep 1000 >/dev/null
say_manager cgroupfs
systemctl restart moored
[ "$(docker exec it sh -c "echo said")" = said ] || fail "exec in one that another manager made"
docker run -d --name other --network none busybox sleep 1000 >/dev/null
say_manager systemd
systemctl restart moored
[ "$(docker exec other sh -c "echo said")" = said ] || fail "exec in one that has a directory"
docker rm -f it other >/dev/null
within 5 no_units
echo "the manager can be changed under running containers"

systemctl stop moored.service moored.socket
rm /etc/moored/moored.toml
