#!/bin/sh
# One session of the docker CLI, as a user types it, each answer checked:
#
#   DOCKER_HOST=unix://... session.sh IMAGE [SECONDS]
#
# It is the same on every kind of host; which cgroup files to read is asked of `docker info`. IMAGE has
# busybox and its applets, SECONDS (30) is how long any one thing may take. The daemon is on this host.
# Needs timeout(1) of coreutils. Leaves no container and no volume. CLIs from 20.10 to 28 pass.

# Volumes that it makes by name.
volumes="hold copied ticks"
. "$(dirname "$0")/steps.sh"

step "run: both streams, environment, directory, user, host name"
ok run --rm $mine -e A=1 -w /bin -u 1000:2000 -h box "$image" \
    sh -c 'echo "$A $PWD $(id -u):$(id -g) $(hostname)"; echo aside >&2'
same "its stdout" "1 /bin 1000:2000 box" "$out"
same "its stderr" aside "$err"

step "run: the codes of processes"
for want in 0 42 255; do
    ends "$want" run --rm $mine "$image" sh -c "exit $want"
done
# The first process cannot kill itself; the exit keeps the outer shell from becoming the inner one.
ends 137 run --rm $mine "$image" sh -c 'sh -c "kill -KILL \$\$"; exit $?'

step "run: 125, 126 and 127 are not the process's"
complains 125 "unknown flag" run --no-such-flag "$image" true
complains 125 nosuch run --rm $mine --runtime nosuch "$image" true
complains 125 "unable to find user nosuch" run --rm $mine -u nosuch "$image" true
complains 125 "Unable to find image" run --rm $mine nosuch/image true
ends 126 run --rm $mine "$image" /bin
complains 127 "executable file not found" run --rm $mine "$image" nosuchcmd
complains 127 "no such file or directory" run --rm $mine "$image" /no/such/bin
says "" ps -aq --filter "label=$mark"

step "run -i: stdin goes in whole, without -i not at all"
dd if=/dev/urandom of="$dir/big" bs=65536 count=4 2>/dev/null
fed "$dir/big" ok run -i --rm $mine "$image" cat
cmp "$dir/big" "$dir/out" >&2 || fail "what went in did not come out"
echo word >"$dir/word"
fed "$dir/word" says "" run --rm $mine "$image" cat

step "run: signals of the foreground reach the process"
later "$dir/shown" run --rm $mine --name fore "$image" \
    sh -c 'trap "echo got it; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
job=$!
within "the trap is set" logged fore ready
kill -TERM "$job"
ended "$job"
same "its code" 9 "$code"
same "its output" "ready
got it" "$(cat "$dir/shown")"

step "run -d, ps, inspect, logs"
ok run -d $mine --name worker "$image" sh -c \
    'trap "echo ended; exit 6" TERM; trap "echo poked" USR1; echo aside >&2; echo ready; while :; do sleep 0.05; done'
id=$out
same "the length of an id" 64 "${#id}"
within "the trap is set" logged worker ready
# The streams are two pipes: what came first in one may be logged after what came later in the other.
aside() { docker logs worker 2>&1 >/dev/null | grep -qx aside; }
within "its stderr" aside
says "$id worker running" ps --no-trunc --filter "label=$mark" --format '{{.ID}} {{.Names}} {{.State}}'
says "$id /worker running 0 false" inspect \
    -f '{{.Id}} {{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.State.Paused}}' worker
complains 1 "No such object: nosuch" inspect nosuch
ok logs worker
same "its stdout" ready "$out"
same "its stderr" aside "$err"
ok logs -t worker
case $out in
????-??-??T??:??:??.*Z\ ready) ;;
*) fail "logs -t: $out" ;;
esac

step "top"
pid_of worker
ok top worker
has "its processes" "while :; do" "$out"
ok top worker -o pid,args
same "its first process" "$pid" "$(awk 'NR == 2 { print $1 }' "$dir/out")"

step "exec: streams, codes, flags, stdin, detached"
ok exec -e A=1 -w /bin -u 1000:2000 worker sh -c 'echo "$A $PWD $(id -u):$(id -g)"; echo aside >&2'
same "its stdout" "1 /bin 1000:2000" "$out"
same "its stderr" aside "$err"
ends 42 exec worker sh -c 'exit 42'
complains 126 "executable file not found" exec worker nosuchcmd
complains 1 "No such container: nosuch" exec nosuch true
fed "$dir/big" ok exec -i worker cat
cmp "$dir/big" "$dir/out" >&2 || fail "what went in did not come out"
ok exec -d worker touch /made
within "what it made" docker exec worker test -e /made

step "kill: a signal that is handled"
says worker kill -s USR1 worker
within "the signal" logged worker poked
says poked logs --tail 1 worker
state worker "running 0"

step "rename"
ok create $mine --name other "$image" sh -c 'echo out; exit 5'
complains 1 "already in use" rename other worker
ok rename worker hand
says /hand inspect -f '{{.Name}}' "$id"
complains 1 "No such container: worker" container inspect worker

step "restart"
pid_of hand
says hand restart -t "$patience" hand
within "it runs again" logged hand ready 2
before=$pid
pid_of hand
[ "$pid" != "$before" ] || fail "its process is the same, $pid"
logged hand ended || fail "it was not asked to end: $(docker logs hand)"
says "running 0" inspect -f '{{.State.Status}} {{.RestartCount}}' hand

step "logs -f, wait and stop"
later "$dir/followed" logs -f hand
follower=$!
within "the follower has what there is" grep -q poked "$dir/followed"
later "$dir/waited" wait hand
waiter=$!
says hand stop -t "$patience" hand
state hand "exited 6"
ended "$waiter"
same "what wait says" "0 6" "$code $(cat "$dir/waited")"
ended "$follower"
same "what was followed" "0 ready poked ended ready ended" "$code $(echo $(cat "$dir/followed"))"
complains 1 "is not running" exec hand true
complains 1 "is not running" kill hand
says hand stop hand

step "stop: the grace, and a signal of its own"
ok run -d $mine --name deaf "$image" sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
within "the trap is set" logged deaf ready
says deaf stop -t 1 deaf
state deaf "exited 137"
ok run -d $mine --name polite --stop-signal INT "$image" \
    sh -c 'trap "exit 7" INT; echo ready; while :; do sleep 0.05; done'
within "the trap is set" logged polite ready
says polite stop -t "$patience" polite

step "start, start -a, kill, wait"
ends 5 start -a other
same "its output" out "$out"
says hand start hand
within "it runs again" logged hand ready 3
says hand kill hand
says "137
7
5" wait hand polite other

step "attach"
# Not `run -d -i`: there, as in Docker, a client whose input has ended is told nothing more.
ok create -i $mine --name shell "$image" sh
says shell start shell
echo 'echo attached; exit 5' >"$dir/word"
fed "$dir/word" ends 5 attach shell
same "what the shell says" attached "$out"

step "prune and rm"
ok run -d $mine --name runs -v /data "$image" sleep 1000
complains 1 "cannot remove" rm runs
ok inspect -f '{{(index .Mounts 0).Name}}' runs
anonymous=$out
says polite rm polite
complains 1 "No such container: polite" rm polite
ok inspect --format '{{.Id}}' hand other deaf shell
ended_ones=$(sort "$dir/out")
ok container prune -f --filter "label=$mark"
same "what was pruned" "$ended_ones" "$(grep -x '[0-9a-f]\{64\}' "$dir/out" | sort)"
says runs ps -a --filter "label=$mark" --format '{{.Names}}'
says runs rm -f -v runs
complains 1 "no such volume" volume inspect "$anonymous"

step "volumes: named, read-only, in use, from the image; tmpfs and binds"
says hold volume create hold
says hold volume ls -q --filter name=hold
ok run --rm $mine -v hold:/data "$image" sh -c 'echo kept >/data/f'
says "kept
refused" run --rm $mine -v hold:/data:ro "$image" sh -c 'cat /data/f; touch /data/g 2>/dev/null || echo refused'
ok create $mine --name user --mount type=volume,src=hold,dst=/data "$image" true
complains 1 "in use" volume rm hold
ok rm user
says /data/busybox run --rm $mine -v copied:/bin -v copied:/data "$image" ls /data/busybox
says copied volume rm copied
says 1024 run --rm $mine --tmpfs /here:size=1m "$image" sh -c 'df -k /here | awk "END { print \$2 }"'
mkdir "$dir/bound"
chmod 777 "$dir/bound"
ok run --rm $mine -u 1234:5678 -v "$dir/bound:/bound" "$image" touch /bound/mine
same "whose a file of a bind is" 1234:5678 "$(stat -c %u:%g "$dir/bound/mine")"
echo one line >"$dir/file"
says "one line
refused" run --rm $mine -v "$dir/file:/file:ro" "$image" sh -c 'cat /file; echo x 2>/dev/null >/file || echo refused'
says refused run --rm $mine --read-only "$image" sh -c 'touch /f 2>/dev/null || echo refused'

step "pause and unpause"
ok run -d $mine --name ticker -v ticks:/ticks "$image" \
    sh -c 'n=0; while :; do n=$((n + 1)); echo $n >/ticks/n; sleep 0.05; done'
within "it ticks" docker exec ticker test -s /ticks/n
says ticker pause ticker
says "paused true" inspect -f '{{.State.Status}} {{.State.Paused}}' ticker
says ticker ps --filter "label=$mark" --filter status=paused --format '{{.Names}}'
complains 1 "is paused" exec ticker true
complains 1 "already paused" pause ticker
# Nothing may happen, which takes a while to see.
says still run --rm $mine -v ticks:/ticks:ro "$image" sh -c \
    'a=$(cat /ticks/n); sleep 1; b=$(cat /ticks/n); [ "$a" = "$b" ] && echo still || echo "$a, then $b"'
says ticker unpause ticker
ok exec ticker cat /ticks/n
tick=$out
moved() { [ "$(docker exec ticker cat /ticks/n)" != "$tick" ]; }
within "it ticks again" moved
says ticker pause ticker
says ticker kill ticker
says 137 wait ticker
says ticker rm ticker
says ticks volume rm ticks

step "limits are the kernel's: --memory, --cpus, --pids-limit"
case $cgroups in
1) files="memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us pids/pids.max" ;;
2) files="memory.max cpu.max pids.max" ;;
*) fail "docker info says cgroup version $cgroups" ;;
esac
ok run --rm $mine --memory 64m --cpus 0.5 --pids-limit 32 "$image" \
    sh -c 'cd /sys/fs/cgroup && cat "$@"' sh $files
# How many processes there may be without a limit is not looked at: in a scope that is systemd's
# DefaultTasksMax.
same "the limits" "67108864 50000 100000 32" "$(echo $out)"
try run --rm $mine --pids-limit 8 "$image" sh -c 'for n in $(seq 20); do sleep 1000 & done'
[ "$code" != 0 ] || fail "twenty processes where there may be eight"
has "what the shell says" "can't fork" "$err"
ends 137 run --rm $mine --memory 16m --memory-swap 16m "$image" \
    sh -c 'x=x; while :; do x=$x$x; done'

step "user namespaces: --label moored.userns"
userns=moored.userns=0:300000:65536
ok run -d $mine --label $userns --name mapped --memory 64m -v hold:/data -v "$dir/bound:/bound" "$image" \
    sh -c 'trap "exit 4" TERM; cat /proc/self/uid_map; touch /data/own /bound/own; echo ready; while :; do sleep 0.05; done'
within "the trap is set" logged mapped ready
ok logs mapped
same "its ids" "0 300000 65536 ready" "$(echo $out)"
# A bind shows the host's ids, a volume those inside.
same "whose a file of a bind is" 300000:300000 "$(stat -c %u:%g "$dir/bound/own")"
says 0:0 run --rm $mine -v hold:/data:ro "$image" stat -c %u:%g /data/own
ok top mapped -o uid,pid
same "who it is on the host" 300000 "$(awk 'NR == 2 { print $1 }' "$dir/out")"
says "0" exec mapped id -u
says 1000 exec -u 1000 mapped id -u
says mapped pause mapped
says mapped unpause mapped
says mapped restart -t "$patience" mapped
within "it runs again" logged mapped ready 2
says mapped stop -t "$patience" mapped
state mapped "exited 4"
says mapped rm mapped
says hold volume rm hold

# terminal ARGS...: the CLI in a terminal of 31 rows and 97 columns; $! is it, its keys are descriptor 3.
terminal() {
    rm -f "$dir/keys" "$dir/shown"
    mkfifo "$dir/keys"
    timeout --foreground -k 5 "$patience" \
        script -qefc "stty rows 31 cols 97; exec docker $*" /dev/null <"$dir/keys" >"$dir/shown" 2>&1 &
    background="$background $!"
    exec 3>"$dir/keys"
}
shown() { grep -qF -e "$1" "$dir/shown"; }
if command -v script >/dev/null; then
    step "run -it: a terminal and its size, detached from and attached to again"
    terminal run -it $mine --name term "$image" sh
    job=$!
    within "a prompt" shown "# "
    # The CLI says the size after the start. What is typed shows as well, hence the quotes.
    echo 'until [ "$(stty size)" = "31 97" ]; do sleep 0.05; done; X=kept; echo si""zed on $(tty)' >&3
    within "its size" shown "sized on /dev/pts/0"
    printf '\020\021' >&3
    ended "$job"
    same "the code of a client that detached" 0 "$code"
    exec 3>&-
    state term "running 0"
    terminal attach term
    job=$!
    echo 'echo $X-still' >&3
    within "the same shell" shown kept-still
    echo 'exit 9' >&3
    ended "$job"
    same "its code" 9 "$code"
    exec 3>&-
    says term rm term

    step "run -it: Ctrl-C reaches the process"
    terminal run -it --rm $mine "$image" \
        "sh -c 'trap \"echo interrupted; exit 7\" INT; echo ready; while :; do sleep 0.05; done'"
    job=$!
    within "the trap is set" shown ready
    printf '\003' >&3
    ended "$job"
    same "its code" 7 "$code"
    exec 3>&-
    shown interrupted || fail "it was ended by something else: $(cat "$dir/shown")"
else
    step "no script(1) here: no terminal"
fi

step "events: what was, and as it comes"
later "$dir/gone" events --since "$since" --filter "label=$mark" --filter event=destroy \
    --format '{{.Actor.Attributes.name}}'
follower=$!
ends 3 run $mine --name brief "$image" sh -c 'exit 3'
ok inspect -f '{{.Id}}' brief
id=$out
ok rm brief
within "the follower's line" grep -qx brief "$dir/gone"
kill "$follower"
ended "$follower"
ok info -f '{{.SystemTime}}'
now=$out
ok events --since "$since" --until "$now" --filter "container=$id" --format '{{.Action}}'
same "its events" "create attach start die destroy" "$(echo $out)"
says 3 events --since "$since" --until "$now" --filter "container=$id" --filter event=die \
    --format '{{.Actor.Attributes.exitCode}}'
says "/worker hand" events --since "$since" --until "$now" --filter "label=$mark" --filter event=rename \
    --format '{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}'

all_is_gone
