# Logs in the journal, written by conmon and read back; sourced by job.sh.

lines='n=0; while [ $n -lt 200 ]; do echo "line $n"; echo "aside $n" >&2; n=$((n+1)); done; printf "no end"'
docker run -d --name written --log-driver journald --log-opt tag=mine --network none busybox \
    sh -c "$lines" >/dev/null
docker wait written >/dev/null
[ "$(docker inspect -f '{{.HostConfig.LogConfig.Type}} {{.LogPath}}' written)" = "journald " ] || fail "inspect"
docker logs written >/out 2>/err
{ seq -f 'line %g' 0 199; printf 'no end'; } | cmp - /out || fail "stdout is not what it wrote"
seq -f 'aside %g' 0 199 | cmp - /err || fail "stderr is not what it wrote"

# The last of both streams, whatever the times, of a run that is over and followed or not.
last() { docker logs "$@" written 2>&1 | grep -c .; }
[ "$(docker logs -n 1 written)" = "no end" ] || fail "the last one: $(docker logs -n 1 written)"
[ "$(last -n 3)" = 3 ] || fail "the last three: $(last -n 3)"
[ "$(last -n 3 --since 2000-01-01 --until 2100-01-01)" = 3 ] || fail "with times"
[ "$(last -f -n 3)" = 3 ] || fail "the last three, followed: $(last -f -n 3)"
[ "$(last --since 2100-01-01)" = 0 ] || fail "since"
[ "$(last --since 2000-01-01)" = 401 ] || fail "since long ago"
docker logs -t -n 1 written | grep -E '^20[0-9-]+T[0-9:.]+Z no end$' >/dev/null || fail "timestamps"
[ "$(journalctl -q -o cat CONTAINER_TAG=mine CONTAINER_NAME=written | grep -c '^line')" = 200 ] || fail "its fields"

# A follower gets all of a run, and its end.
docker run -d --name follows --log-driver journald --network none busybox \
    sh -c 'until [ -e /go ]; do sleep 0.05; done; n=0; while [ $n -lt 500 ]; do echo $n; n=$((n+1)); done' >/dev/null
docker logs -f follows >/followed 2>&1 &
docker exec follows touch /go
docker wait follows >/dev/null
within 20 sh -c '[ "$(wc -l </followed)" = 500 ]'
seq 0 499 | cmp - /followed || fail "what a follower got"
id=$(docker inspect -f '{{.Id}}' follows)
[ "$(journalctl -q -o cat "CONTAINER_TAG=${id:0:12}" | grep -c .)" = 500 ] || fail "its tag"
[ "$(docker run --rm --log-driver journald --network none busybox echo through)" = through ] || fail "attach"
docker rm written follows >/dev/null
said=$(timeout 60 docker run --log-driver journald --log-opt labels=x busybox true 2>&1) && fail "an option that is not built"
[[ $said == *"Config labels is not implemented"* ]] || fail "an option that is not built: $said"
echo "the journal keeps logs, and gives them back"
