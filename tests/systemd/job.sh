# What is to be seen under systemd; runs inside the bed. Each line it prints is a fact.
set -u
. /host/helpers.sh

install_moored
mkdir -p /etc/systemd/system/moored.service.d
printf '[Service]\nWatchdogSec=3\n' >/etc/systemd/system/moored.service.d/soon.conf
mkdir -p /etc/systemd/system/moored.socket.d
printf '[Socket]\nListenStream=/run/docker.sock\n' >/etc/systemd/system/moored.socket.d/docker.conf
systemctl daemon-reload
systemctl start moored.socket || fail "the socket"
systemctl is-active --quiet moored.service && fail "it runs before it is needed"
[ "$(ask /_ping)" = OK ] || fail "no answer"
within 10 systemctl is-active --quiet moored.service
echo "a client activates it"

[ "$(curl -sf --unix-socket /run/docker.sock http://d/_ping)" = OK ] || fail "no answer on the second socket"
echo "it answers on both sockets"

make_image
docker run -d --name counter --network none busybox \
    sh -c 'n=0; while :; do echo $n; n=$((n+1)); sleep 0.02; done' >/dev/null
pid=$(docker inspect -f '{{.State.Pid}}' counter)

# Clients that try again when there is no answer. What is refused is no failure to try again for.
load() {
    while [ ! -e /enough ]; do
        curl -sf --retry 30 --retry-all-errors --retry-delay 0 --retry-max-time 20 -o /dev/null \
            --unix-socket /run/moored/moored.sock "http://d$1" 2>/dev/null || echo "$1" >>/failed
        echo >>/asked
    done
}
for path in /_ping /containers/json '/containers/counter/json' /images/json; do
    load "$path" &
done
for _ in $(seq 10); do
    before=$(main_pid)
    systemctl restart moored || fail "restart"
    [ "$(main_pid)" != "$before" ] || fail "it was not restarted"
    sleep 0.2
done
touch /enough
wait
[ ! -e /failed ] || fail "$(sort /failed | uniq -c)"
[ "$(wc -l </asked)" -gt 100 ] || fail "only $(wc -l </asked) requests"
echo "no request of $(wc -l </asked) failed over ten restarts"
[ "$(docker inspect -f '{{.State.Pid}} {{.State.Running}}' counter)" = "$pid true" ] || fail "it was stopped"
docker logs counter >/counted
seq 0 $(($(wc -l </counted) - 1)) | cmp - /counted || fail "its log has a gap"
[ "$(wc -l </counted)" -gt 100 ] || fail "its log is short"
echo "no container was stopped, and no line of its log is missing"

docker network create named >/dev/null
docker run -d --name web --network named -p 8080:80 busybox sh -c 'echo said >/said; exec httpd -f -p 80 -h /' >/dev/null
docker run -d --name reader --network named busybox sleep 1000 >/dev/null
says() {
    within 10 curl -sf --max-time 2 http://127.0.0.1:8080/said
    [ "$(curl -s --max-time 5 http://127.0.0.1:8080/said)" = said ] || fail "$1: the port does not answer"
    docker exec reader nslookup web | grep -F "$(docker inspect -f '{{.NetworkSettings.Networks.named.IPAddress}}' web)" >/dev/null ||
        fail "$1: the name is not known"
}
says "at first"
systemctl restart moored || fail "restart"
says "after a restart"
systemctl kill -s KILL moored.service
within 10 docker ps
says "after a kill"
systemctl stop moored.service moored.socket
[ "$(curl -s --max-time 5 http://127.0.0.1:8080/said)" = said ] || fail "the port does not answer without a daemon"
systemctl start moored.socket
docker rm -f web reader >/dev/null
docker network rm named >/dev/null
pgrep aardvark-dns && fail "aardvark-dns is left"
[ -z "$(ls /run/moored/netns)" ] || fail "a namespace is left: $(ls /run/moored/netns)"
echo "ports and names are there with the next daemon, and without one"

mkdir -p /etc/moored
echo 'idle-exit-s = 1' >/etc/moored/moored.toml
systemctl reload moored || fail "reload"
within 10 sh -c 'journalctl -u moored | grep -q "the settings were read again"'
within 20 sh -c '! systemctl is-active --quiet moored.service'
kill -0 "$pid" || fail "the container ended with the daemon"
docker ps >/dev/null
within 10 systemctl is-active --quiet moored.service
[ "$(docker inspect -f '{{.State.Running}}' counter)" = true ] || fail "it does not know its container"
echo "it ends when nobody needs it, and comes back"
docker run -d --name kept --network none --restart unless-stopped busybox sleep 1000 >/dev/null
sleep 3
systemctl is-active --quiet moored.service || fail "a container with a policy was left alone"
docker stop -t 0 kept >/dev/null
docker run -d --name always --network none --restart always busybox sleep 1000 >/dev/null
docker stop -t 0 always >/dev/null
sleep 3
systemctl is-active --quiet moored.service || fail "what a client stopped would be started again"
docker rm always >/dev/null
within 20 sh -c '! systemctl is-active --quiet moored.service'
echo "it stays while a container needs it"
echo 'idle-exit-s = "soon"' >/etc/moored/moored.toml
docker ps >/dev/null 2>&1 & # Activates it, with settings that cannot be read.
within 10 sh -c 'journalctl -u moored | grep -q "cannot read the settings in /etc/moored/moored.toml"'
rm /etc/moored/moored.toml
systemctl reset-failed moored.service moored.socket
systemctl start moored.socket
wait
docker ps >/dev/null

echo 'log-level = "loud"' >/etc/moored/moored.toml
systemctl reload moored
within 10 sh -c 'journalctl -u moored | grep -q "all stays as it was"'
ask /_ping >/dev/null || fail "a mistake in the settings ended it"
rm /etc/moored/moored.toml
echo "a mistake in the settings is told"

before=$(main_pid)
kill -STOP "$before"
within 20 sh -c "[ \$(systemctl show -P MainPID moored) != $before ] && [ \$(systemctl show -P MainPID moored) != 0 ]"
within 10 ask /_ping
[ "$(docker inspect -f '{{.State.Pid}}' counter)" = "$pid" ] || fail "the watchdog cost a container"
echo "the watchdog ends a daemon that hangs, and no container"

systemctl stop moored.service moored.socket || fail "stop"
[ ! -e /run/moored/moored.sock ] && [ ! -e /run/docker.sock ] || fail "a socket is left"
kill -0 "$pid" || fail "stop ended a container"
systemctl start moored.socket
docker rm -f counter kept >/dev/null
. /host/journal.sh
systemctl stop moored.service moored.socket
. /host/cgroups.sh
[ "$(pgrep -c conmon)" = 0 ] || fail "conmon is left: $(pgrep -a conmon)"
echo done
