# Checkpoint and restore with CRIU, by both runtimes; sourced by job.sh.

mkdir -p /etc/moored
# 130, below: no hardware breakpoints, which some releases of qemu emulate so that the kernel panics.
with_conmon() {
    cat >/etc/moored/moored.toml <<TOML
experimental = true
[launch]
environment = { CRIU_FAULT = "130" }
[conmon]
paths = ["$1"]
TOML
    systemctl start moored.socket
    systemctl restart moored
}
counter='n=0; while :; do echo $n; n=$((n+1)); sleep 0.1; done'
last() { docker logs it | tail -n 1; }
state() { docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' it; }
# refused WORDS COMMAND...: it fails, and says so.
refused() {
    local words=$1 said
    shift
    said=$(timeout 60 docker "$@" 2>&1) && fail "it worked: docker $*"
    [[ $said == *$words* ]] || fail "docker $* said: $said"
}

# cut_short NAME [OPTION]: the daemon dies, or ends, while CRIU makes that checkpoint.
cut_short() {
    local client
    timeout 60 docker checkpoint create ${2:-} it "$1" >/dev/null 2>&1 &
    client=$!
    within 10 test -e "/var/lib/moored/containers/$id/checkpoints/.making-$1/dump.log"
    case $runtime in
    runc) kill -9 "$(main_pid)" ;;
    crun) systemctl restart moored ;;
    esac
    wait $client && fail "$runtime: the client was answered by nobody"
    return 0
}

first() { curl -sSf --unix-socket /run/moored/moored.sock "$@"; }
second() { curl -sSf --unix-socket /second.sock "$@"; }
# An image that is the same for every daemon, in /image.tar.
make_same_image() {
    mkdir -p /same
    echo "users:x:100:" >/root-fs/group
    tar -C /root-fs --transform 's,^\./group$,./etc/group,' -cf /same/layer.tar .
    rm /root-fs/group
    local id
    id=$(sha256sum /same/layer.tar | cut -d' ' -f1)
    echo '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:'$id'"]}}' >/same/config.json
    echo '[{"Config":"config.json","RepoTags":["same:latest"],"Layers":["layer.tar"]}]' >/same/manifest.json
    tar -C /same -cf /image.tar manifest.json config.json layer.tar
    docker load -q -i /image.tar >/dev/null
}
# A container with a volume and changes of its own is exported by the daemon of the unit and goes on
# under one beside it.
moves_to_another_daemon() {
    local it=http://d/moored/containers/it/checkpoints/moved pid at
    docker run -d --name it --runtime $runtime --network none -v kept:/kept same \
        sh -c "echo of-the-volume >/kept/file; echo of-the-layer >/etc/file; rm /etc/group; $counter" >/dev/null
    within 10 sh -c '[ "$(docker logs it | wc -l)" -gt 5 ]'
    docker checkpoint create it moved >/dev/null
    first $it | grep -q '"FrozenTime":[1-9]' || fail "$runtime: no statistics: $(first $it)"
    at=$(last)
    first -o /moved.tar $it/export
    docker rm -v it >/dev/null
    docker volume rm kept >/dev/null

    systemd-run -q --unit moored-second -p Delegate=yes -p KillMode=process --setenv CRIU_FAULT=130 \
        unshare --net /usr/bin/moored serve --socket /second.sock --data-root /second/data \
        --run-root /second/run --cgroup-parent second.slice --config /etc/moored/moored.toml
    within 20 curl -s -o /dev/null --unix-socket /second.sock http://d/_ping
    second -o /dev/null -H 'Content-Type: application/x-tar' -T /image.tar -X POST http://d/images/load
    second -o /dev/null -H 'Content-Type: application/x-tar' -T /moved.tar -X POST http://d/moored/containers/import
    second -o /dev/null -X POST 'http://d/containers/it/start?checkpoint=moved'
    within 20 sh -c "[ \"\$(DOCKER_HOST=unix:///second.sock docker logs it | tail -n 1)\" -gt $((at + 5)) ]"
    (
        export DOCKER_HOST=unix:///second.sock
        [ "$(docker logs it | sed -n 1p)" -gt "$at" ] || fail "$runtime: it did not go on where it was"
        [ "$(docker exec it cat /kept/file /etc/file | xargs)" = "of-the-volume of-the-layer" ] || fail "$runtime: its files"
        timeout 60 docker exec it test -e /etc/group && fail "$runtime: what it had removed is there"
        docker rm -fv it >/dev/null
    ) || exit 1
    systemctl stop moored-second
    umount /second/run/exits
    rm -rf /second /second.sock /moved.tar
}

# A container on a network has its place again, and its port; another address, where somebody has its own.
goes_on_with_its_network() {
    local shown='{{.State.Status}} {{.NetworkSettings.Networks.cp.IPAddress}}' port=http://127.0.0.1:8121
    docker network create --subnet 10.96.0.0/24 cp >/dev/null
    docker run -d --name it --runtime $runtime --network cp -p 8121:81 busybox \
        sh -c "mkdir /www; echo hello >/www/index.html; httpd -p 81 -h /www; $counter" >/dev/null
    docker run -d --name other --network cp busybox sleep 1000 >/dev/null
    within 20 curl -sf $port
    docker checkpoint create --leave-running it one >/dev/null
    [ "$(curl -s -m 20 $port)" = hello ] || fail "$runtime: its port beside a checkpoint"
    docker checkpoint create it two >/dev/null
    within 20 sh -c '! nft list ruleset | grep -q 8121'
    docker run -d --name port -p 8121:81 busybox sleep 1000 >/dev/null
    refused "Bind for 0.0.0.0:8121 failed: port is already allocated" start --checkpoint two it
    docker rm -f port >/dev/null
    docker start --checkpoint two it >/dev/null
    [ "$(docker inspect -f "$shown" it)" = "running 10.96.0.2" ] || fail "$runtime: its address: $(docker inspect it)"
    [ "$(curl -s -m 20 $port)" = hello ] || fail "$runtime: its port after a restore: $(nft list ruleset)"
    [ "$(docker exec other wget -qO- http://it:81)" = hello ] || fail "$runtime: its name after a restore"
    [ "$(docker exec it wget -qO- http://10.96.0.1:8121)" = hello ] || fail "$runtime: its own port from within"
    docker stop -t 0 it >/dev/null
    docker run -d --name taker --network cp --ip 10.96.0.2 busybox sleep 1000 >/dev/null
    docker start --checkpoint two it >/dev/null
    [ "$(docker inspect -f "$shown" it)" = "running 10.96.0.4" ] || fail "$runtime: another address: $(docker inspect it)"
    [ "$(curl -s -m 20 $port)" = hello ] || fail "$runtime: its port at another address"
    docker rm -f it other taker >/dev/null
    docker network rm cp >/dev/null
}

systemctl start moored.socket
make_same_image
for pair in "runc /usr/bin/conmon-old" "crun /usr/bin/conmon"; do
    runtime=${pair% *}
    with_conmon "${pair#* }"
    docker run -d --name it --runtime $runtime --restart always --network none busybox sh -c "$counter" >/dev/null
    id=$(docker inspect -f '{{.Id}}' it)
    within 10 sh -c '[ "$(docker logs it | wc -l)" -gt 5 ]'
    [ "$(docker checkpoint create --leave-running it first)" = first ] || fail "$runtime: create"
    [ "$(state)" = "running 0" ] || fail "$runtime: it did not go on: $(state)"
    at=$(last)
    within 10 sh -c "[ \"\$(docker logs it | tail -n 1)\" -gt $at ]"
    [ "$(docker exec it sh -c 'echo said')" = said ] || fail "$runtime: exec after a checkpoint"
    docker checkpoint create it second >/dev/null
    [ "$(state)" = "exited 137" ] || fail "$runtime: its policy started it, or it runs: $(state)"
    [ "$(docker checkpoint ls it | tail -n +2 | xargs)" = "first second" ] || fail "$runtime: $(docker checkpoint ls it)"
    at=$(last)

    refused "does not exist" start --checkpoint nosuch it
    refused "Invalid checkpoint ID" start --checkpoint ../second it
    docker start --checkpoint second it >/dev/null
    [ "$(state)" = "running 0" ] || fail "$runtime: it was not restored: $(state)"
    within 20 sh -c "[ \"\$(docker logs it | tail -n 1)\" -gt $((at + 5)) ]"
    docker logs it >/counted
    seq 0 $(($(wc -l </counted) - 1)) | cmp - /counted || fail "$runtime: it did not go on where it was"
    [ "$(docker exec it sh -c 'echo said')" = said ] || fail "$runtime: exec after a restore"
    refused "is running: stop it before it is restored" start --checkpoint second it
    refused "already exists" checkpoint create it second
    pid=$(docker inspect -f '{{.State.Pid}}' it)
    systemctl restart moored
    [ "$(docker inspect -f '{{.State.Pid}}' it)" = "$pid" ] || fail "$runtime: a restored one is not taken back"
    docker stop -t 0 it >/dev/null
    [ "$(state)" = "exited 137" ] || fail "$runtime: its code"

    # Not the last one: the counter goes back.
    docker start --checkpoint first it >/dev/null
    within 20 sh -c '[ "$(docker logs it | wc -l)" -gt '"$(wc -l </counted)"' ]'
    docker stop -t 0 it >/dev/null
    echo x >>"/var/lib/moored/containers/$id/checkpoints/second/pages-1.img"
    refused "checkpoint second is damaged: pages-1.img" start --checkpoint second it
    [ "$(state)" = "exited 137" ] || fail "$runtime: a refused restore changed it: $(state)"
    docker checkpoint rm it first
    [ "$(docker checkpoint ls it | tail -n +2 | xargs)" = second ] || fail "$runtime: rm"
    refused "is not running" checkpoint create it third
    docker rm it >/dev/null
    [ ! -e "/var/lib/moored/containers/$id" ] || fail "$runtime: its checkpoints are left"

    # The daemon dies, or ends, while CRIU is at work: the next one finishes it. (`always` would start
    # with the daemon what a client had ended.)
    docker run -d --name it --runtime $runtime --restart unless-stopped --network none busybox \
        sh -c "x=\$(head -c 40000000 /dev/zero | tr '\\0' x); $counter" >/dev/null
    id=$(docker inspect -f '{{.Id}}' it)
    within 30 sh -c '[ "$(docker logs it | wc -l)" -gt 5 ]'
    cut_short cut
    within 30 sh -c '[ "$(docker checkpoint ls it | tail -n +2 | xargs)" = cut ]'
    within 10 sh -c '[ "$(docker inspect -f "{{.State.Status}} {{.State.ExitCode}}" it)" = "exited 137" ]'
    at=$(last)
    docker start --checkpoint cut it >/dev/null
    within 20 sh -c "[ \"\$(docker logs it | tail -n 1)\" -gt $((at + 5)) ]"
    docker logs it >/counted
    seq 0 $(($(wc -l </counted) - 1)) | cmp - /counted || fail "$runtime: a checkpoint that was cut short"
    # One that the container goes on beside is not its end: what ends it later is nobody's wish.
    cut_short beside --leave-running
    within 30 sh -c '[ "$(docker checkpoint ls it | tail -n +2 | sort | xargs)" = "beside cut" ]'
    within 10 sh -c '[ "$(docker inspect -f "{{.State.Status}} {{.RestartCount}}" it)" = "running 0" ]'
    kill -9 "$(docker inspect -f '{{.State.Pid}}' it)"
    within 10 sh -c '[ "$(docker inspect -f "{{.State.Status}} {{.RestartCount}}" it)" = "running 1" ]'
    docker rm -f it >/dev/null

    docker run -d --rm --name it --runtime $runtime --network none busybox sleep 1000 >/dev/null
    refused "is removed when it ends" checkpoint create it one
    docker rm -f it >/dev/null
    docker run -d -t --name it --runtime $runtime --network none busybox sleep 1000 >/dev/null
    refused "checkpoint not support on containers with tty" checkpoint create it one
    # What CRIU says reaches the client, and the container runs on.
    docker rm -f it >/dev/null
    docker run -d --name it --runtime $runtime --network none busybox sleep 1000 >/dev/null
    mv /usr/sbin/iptables-restore /usr/sbin/iptables-gone
    refused "Error (criu/" checkpoint create it one
    mv /usr/sbin/iptables-gone /usr/sbin/iptables-restore
    [ "$(state)" = "running 0" ] || fail "$runtime: a failed checkpoint changed it: $(state)"
    docker rm -f it >/dev/null
    moves_to_another_daemon
    goes_on_with_its_network
    echo "a counter goes on where it was: $runtime, $(${pair#* } --version | head -n 1)"
done
docker events --since 1 --until "$(date +%s)" | grep -c ' checkpoint ' | grep -qx 14 || fail "events"
rm /etc/moored/moored.toml
systemctl stop moored.service moored.socket
