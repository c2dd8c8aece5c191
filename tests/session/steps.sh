# What the sessions of the docker CLI share; sourced with the image and the seconds of patience as arguments.
# Each step prints a line; whatever is not as it should be ends the session. `volumes` are those that the
# session makes by name.

set -u
image=$1
patience=${2-30}
mark=session=$$
mine="--label $mark"
dir=$(mktemp -d)
background=
input=/dev/null
count=0
began=$(date +%s)

step() {
    count=$((count + 1))
    echo "$count: $*"
}
# Never in a subshell: it would end that alone.
fail() {
    echo "FAIL in step $count: $*" >&2
    exit 1
}
# same WHAT EXPECTED ACTUAL
same() {
    [ "$2" = "$3" ] || fail "$1
  expected: $2
  actual:   $3"
}
# has WHAT WORDS TEXT: the words are in it, in capitals or not, as CLIs differ in that.
has() {
    printf '%s\n' "$3" | grep -qiF -e "$2" || fail "$1
  expected: ...$2...
  actual:   $3"
}
# within WHAT COMMAND...: waits until the command succeeds.
within() {
    what=$1 end=$(($(date +%s) + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || fail "$what: not within $patience seconds"
        sleep 0.05
    done
}

# In the foreground, so that a signal for it reaches the CLI once, and a terminal is the CLI's.
docker() { timeout --foreground -k 5 "$patience" docker "$@"; }
# try ARGS...: code, out and err are how it ended.
try() {
    code=0
    docker "$@" <"$input" >"$dir/out" 2>"$dir/err" || code=$?
    out=$(cat "$dir/out") err=$(cat "$dir/err")
}
# fed FILE ok|says|... ARGS...: with the file on its stdin.
fed() {
    input=$1
    shift
    "$@"
    input=/dev/null
}
# ends CODE ARGS...
ends() {
    want=$1
    shift
    try "$@"
    same "exit code of: docker $* (it said: $out $err)" "$want" "$code"
}
ok() { ends 0 "$@"; }
# says OUTPUT ARGS...: it succeeds and prints that.
says() {
    answer=$1
    shift
    ok "$@"
    same "docker $*" "$answer" "$out"
}
# complains CODE WORDS ARGS...
complains() {
    want=$1 words=$2
    shift 2
    ends "$want" "$@"
    has "what docker $* complains of" "$words" "$err $out"
}
# later FILE ARGS...: runs in the background; $! is the CLI's, and its stdout is in the file.
later() {
    file=$1
    shift
    timeout --foreground -k 5 "$patience" docker "$@" <"$input" >"$file" 2>"$dir/later.err" &
    background="$background $!"
}
# ended PID: waits for one of those; code is its code. timeout(1) bounds it. A shell may tell of a signal
# that ended it, which is no complaint.
ended() {
    code=0
    wait "$1" 2>/dev/null || code=$?
}

# logged NAME LINE [TIMES]
logged() { [ "$(docker logs "$1" 2>/dev/null | grep -cx -e "$2")" = "${3-1}" ]; }
state() { says "$2" inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
pid_of() {
    ok inspect -f '{{.State.Pid}}' "$1"
    pid=$out
}

clean() {
    code=$?
    trap - EXIT
    for job in $background; do
        kill "$job" 2>/dev/null
    done
    # Only what a failed session left: the last step says that there is nothing.
    left=$(docker ps -aq --filter "label=$mark")
    [ -z "$left" ] || docker rm -f -v $left >/dev/null
    docker volume rm -f $volumes >/dev/null 2>&1
    rm -rf "$dir"
    exit $code
}
trap clean EXIT
trap 'exit 130' INT TERM

ok info -f '{{.CgroupVersion}} {{.CgroupDriver}} {{.DefaultRuntime}} {{.SystemTime}}'
set -- $out
cgroups=$1 since=$4
host="cgroup v$1, $2, $3"
ok version -f '{{.Client.Version}}'
echo "$host, docker CLI $out"
ok ps -aq --no-trunc
containers_before=$(sort "$dir/out")
ok volume ls -q
volumes_before=$(sort "$dir/out")

# The last step of a session.
all_is_gone() {
    step "nothing is left"
    ok ps -aq --no-trunc
    same "containers" "$containers_before" "$(sort "$dir/out")"
    ok volume ls -q
    same "volumes" "$volumes_before" "$(sort "$dir/out")"
    echo "the session is green: $host, $(($(date +%s) - began)) s"
}
