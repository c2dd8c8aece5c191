# Logs in the journal, written by conmon and read back; sourced by job.sh.

lines='n=0; while [ $n -lt 200 ]; do echo "line $n"; echo "aside $n" >&2; n=$((n+1)); done; printf "no end"'
docker run -d --name written --log-driver journald --log-opt tag=mine --network none busybox \
    sh -c "$lines" >/dev/null
docker wait written >/dev/null
[ "$(docker inspect -f '{{.HostConfig.LogConfig.Type}} {{.LogPath}}' written)" = "journald " ] || fail "inspect"
# The journal takes in what it was sent when it comes to it: nothing is read before that.
within 10 sh -c '[ "$(docker logs written 2>/dev/null | wc -l)" = 200 ]'
docker logs written >/out 2>/err
{ seq -f 'line %g' 0 199; printf 'no end'; } | cmp - /out || fail "stdout is not what it wrote"
seq -f 'aside %g' 0 199 | cmp - /err || fail "stderr is not what it wrote"
[ "$(docker logs -n 2 written 2>&1 | tail -n 1)" = "no end" ] || fail "the last lines"
[ "$(docker logs --since 2100-01-01 written 2>&1)" = "" ] || fail "since"
docker logs -t -n 1 written 2>&1 | grep -qE '^20[0-9-]+T[0-9:.]+Z ' || fail "timestamps"
[ "$(journalctl -q -o cat CONTAINER_TAG=mine CONTAINER_NAME=written | grep -c '^line')" = 200 ] || fail "its fields"

# A follower gets all of a run, and its end.
docker run -d --name follows --log-driver journald --network none busybox \
    sh -c 'until [ -e /go ]; do sleep 0.05; done; n=0; while [ $n -lt 500 ]; do echo $n; n=$((n+1)); done' >/dev/null
docker logs -f follows >/followed 2>&1 &
docker exec follows touch /go
docker wait follows >/dev/null
within 20 sh -c '[ "$(wc -l </followed)" = 500 ]'
seq 0 499 | cmp - /followed || fail "what a follower got"
[ "$(docker run --rm --log-driver journald --network none busybox echo through)" = through ] || fail "attach"
docker rm written follows >/dev/null
said=$(timeout 60 docker run --log-driver journald --log-opt labels=x busybox true 2>&1) && fail "an option that is not built"
[[ $said == *"Config labels is not implemented"* ]] || fail "an option that is not built: $said"
echo "the journal keeps logs, and gives them back"
