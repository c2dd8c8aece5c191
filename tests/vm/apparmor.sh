# AppArmor: containers are under our profile, which comes back when it is gone; sourced by job.sh.

systemctl start moored.socket
confined() { docker run --rm --network none "$@" busybox cat /proc/self/attr/current; }
profile='moored-default (enforce)'
for runtime in runc crun; do
    [ "$(confined --runtime $runtime)" = "$profile" ] || fail "$runtime: $(confined --runtime $runtime)"
    [ "$(confined --runtime $runtime --security-opt apparmor=unconfined)" = unconfined ] || fail "$runtime: unconfined"
    [ "$(confined --runtime $runtime --privileged)" = unconfined ] || fail "$runtime: privileged"
    said=$(timeout 60 docker run --rm --runtime $runtime --security-opt apparmor=nosuch busybox true 2>&1) &&
        fail "$runtime: an unknown profile"
    [[ $said == *nosuch* || $said == *apparmor* ]] || fail "$runtime: $said"

    # With every capability, too, and nothing else in the way: the profile alone refuses these.
    all="--cap-add ALL --security-opt seccomp=unconfined --security-opt systempaths=unconfined"
    docker run -d --name it --runtime $runtime --network none $all -v /sys:/sys busybox \
        sh -c 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
    within 10 sh -c '[ "$(docker logs it)" = ready ]'
    for forbidden in 'mount -t tmpfs none /mnt' 'echo 1 >/proc/sysrq-trigger' 'echo 1 >/proc/sys/vm/drop_caches' \
        'echo x >/sys/kernel/mm/ksm/run' 'head -c 1 /proc/kcore'; do
        timeout 60 docker exec it sh -c "mkdir -p /mnt; $forbidden" >/dev/null 2>&1 && fail "$runtime: it may: $forbidden"
    done
    docker exec it sh -c 'mkdir -p /d && touch /d/f && chmod 700 /d && rm -r /d && cat /proc/mounts >/dev/null' ||
        fail "$runtime: it may not work on its own files"
    docker exec it sh -c 'sleep 100 & kill $!' || fail "$runtime: it may not signal its own"
    [ "$(docker exec it cat /proc/self/attr/current)" = "$profile" ] || fail "$runtime: an exec is outside"
    [ "$(docker exec --privileged it cat /proc/self/attr/current)" = "$profile" ] || fail "$runtime: a privileged exec"
    [ "$(docker inspect -f '{{.AppArmorProfile}}' it)" = moored-default ] || fail "$runtime: inspect"
    docker pause it >/dev/null && docker unpause it >/dev/null && docker stop it >/dev/null || fail "$runtime: signals"
    [ "$(docker inspect -f '{{.State.ExitCode}}' it)" = 7 ] || fail "$runtime: its code"
    docker rm it >/dev/null
done
[[ $(docker info -f '{{.SecurityOptions}}') == *apparmor* ]] || fail "info does not tell of AppArmor"

# Somebody unloads it.
echo -n moored-default >/sys/kernel/security/apparmor/.remove
[ "$(confined)" = "$profile" ] || fail "it did not come back: $(confined)"
# No parser: containers run, and it is told.
mv /usr/sbin/apparmor_parser /usr/sbin/gone
systemctl restart moored
[[ $(confined) == *unconfined* ]] || fail "by whom? $(confined)"
[[ $(docker info 2>&1) == *"no AppArmor profile"*"install the package apparmor"* ]] || fail "nobody warns: $(docker info 2>&1 | tail -n 5)"
mv /usr/sbin/gone /usr/sbin/apparmor_parser
systemctl restart moored
[ "$(confined)" = "$profile" ] || fail "after all: $(confined)"
systemctl stop moored.service moored.socket
echo "containers are under moored-default"
