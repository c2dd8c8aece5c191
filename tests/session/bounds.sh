#!/bin/sh
# A second session of the docker CLI (see session.sh): volumes, limits, devices, what a container has and
# what it takes. What was asked for is compared with what the kernel says inside the container.
data=data-$$ other=other-$$ twice=twice-$$ only=only-$$
volumes="$data $other $twice $only"
. "$(dirname "$0")/steps.sh"

# inside NAME FILE_V1 FILE_V2: what the container's own cgroup says, its lines in one.
inside() {
    file=$2
    [ "$cgroups" = 1 ] || file=$3
    ok exec "$1" cat "/sys/fs/cgroup/$file"
    out=$(echo $out)
}
# kernel NAME FILE_V1 VALUE_V1 FILE_V2 VALUE_V2
kernel() {
    inside "$1" "$2" "$4"
    want=$3
    [ "$cgroups" = 1 ] || want=$5
    same "$file of $1" "$want" "$out"
}
# bounded FLAGS...: a container that rests, with these.
bounded() {
    ok run -d $mine --name bounded "$@" "$image" sleep 1000
}
gone() { ok rm -f "$1"; }
mib=1048576

step "volume: create, inspect, ls, rm"
says $data volume create --label $mark --label of=session $data
says "$data local session" volume inspect -f '{{.Name}} {{.Driver}} {{index .Labels "of"}}' $data
says $data volume create $data
says $data volume ls -q --filter label=$mark
says $data volume ls -q --filter name=$data --filter dangling=true
says $other volume create $other
complains 1 "no such volume" volume inspect nosuch
complains 1 "no such volume" volume rm nosuch
complains 1 "includes invalid characters" volume create "a/b"

step "volume: data outlive their container, and are refused to be removed while one has them"
ok run --rm $mine -v $data:/data "$image" sh -c 'echo kept >/data/file'
ok run -d $mine --name holder -v $data:/data:ro "$image" sleep 1000
says kept exec holder cat /data/file
ends 1 exec holder sh -c 'echo no >/data/file'
complains 1 "volume is in use" volume rm $data
says "" volume ls -q --filter name=$data --filter dangling=true
says "volume $data /data false" inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}' holder

step "volumes-from, --mount in all forms, sub-path, tmpfs, bind"
says kept run --rm $mine --volumes-from holder "$image" cat /data/file
ends 1 run --rm $mine --volumes-from holder "$image" sh -c 'echo no >/data/file'
complains 125 "nosuch" run --rm $mine --volumes-from nosuch "$image" true
gone holder
ok run --rm $mine --mount type=volume,source=$data,target=/data "$image" sh -c 'mkdir /data/sub; echo below >/data/sub/file'
says below run --rm $mine --mount type=volume,source=$data,target=/x,volume-subpath=sub "$image" cat /x/file
complains 127 "no such file or directory" run --rm $mine --mount type=volume,source=$data,target=/x,volume-subpath=none "$image" true
complains 125 "subpath" run --rm $mine --mount type=volume,source=$data,target=/x,volume-subpath=../.. "$image" true
ok run --rm $mine --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700 --tmpfs /u:size=2m "$image" \
    sh -c 'stat -c %a /t; df -k /t /u | awk "NR > 1 { print \$2 }"'
same "the two tmpfs" "700 1024 2048" "$(echo $out)"
mkdir "$dir/bound"
echo ours >"$dir/bound/file"
says ours run --rm $mine --mount "type=bind,source=$dir/bound,target=/b,readonly" "$image" cat /b/file
complains 125 "bind source path does not exist" run --rm $mine --mount "type=bind,source=$dir/none,target=/b" "$image" true
ok run --rm $mine -v "$dir/made:/b" "$image" true
[ -d "$dir/made" ] || fail "-v makes what is missing"

step "volume: copy-up from the image, once, and not with nocopy"
ok run --rm $mine -v $twice:/bin "$image" sh -c 'rm /bin/true; ls /bin/sh'
ends 127 run --rm $mine -v $twice:/bin "$image" true
ok run --rm $mine --mount type=volume,source=$only,target=/usr,volume-nocopy "$image" ls -A /usr
same "a volume that copies nothing" "" "$out"

step "volume: options of the local driver"
ok volume rm $other
says $other volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=3m,uid=7 $other
ok run --rm $mine -v $other:/o "$image" sh -c 'df -k /o | awk "NR > 1 { print \$2 }"; stat -c %u /o'
same "its size and owner" "3072 7" "$(echo $out)"
grep -q "/$other/_data " /proc/self/mountinfo && fail "it is mounted though nobody uses it"
complains 1 "invalid option" volume create --opt nosuch=x

step "volume: prune takes the anonymous ones, and with -a all that nobody has"
ok create $mine --name anonymous --mount "type=volume,target=/anonymous,volume-label=$mark" "$image" true
ok rm anonymous
ok volume prune -f --filter "label=$mark"
has "what was pruned" "Total reclaimed space" "$out"
ok volume ls -q --filter name=$data
same "a named one stays" $data "$out"
ok volume prune -f -a --filter "label=$mark"
says "" volume ls -q --filter "label=$mark"

step "memory, processes, processors"
bounded --memory 64m --memory-swap 128m --memory-reservation 32m --pids-limit 50 --cpus 1.5 --cpu-shares 512 \
    --cpuset-cpus 0
kernel bounded memory/memory.limit_in_bytes $((64 * mib)) memory.max $((64 * mib))
kernel bounded memory/memory.soft_limit_in_bytes $((32 * mib)) memory.low $((32 * mib))
kernel bounded pids/pids.max 50 pids.max 50
[ "$cgroups" = 1 ] || kernel bounded - - memory.swap.max $((64 * mib))
kernel bounded cpu/cpu.cfs_quota_us 150000 cpu.max "150000 100000"
kernel bounded cpuset/cpuset.cpus 0 cpuset.cpus 0
says "67108864 134217728 50 1500000000 512 0" inspect -f \
    '{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.PidsLimit}} {{.NanoCpus}} {{.CpuShares}} {{.CpusetCpus}}{{end}}' bounded

step "update of what runs"
says bounded update --memory 96m --memory-swap 192m --pids-limit 60 --cpu-shares 1024 bounded
kernel bounded memory/memory.limit_in_bytes $((96 * mib)) memory.max $((96 * mib))
kernel bounded pids/pids.max 60 pids.max 60
says "100663296 60 1024 no" inspect -f \
    '{{with .HostConfig}}{{.Memory}} {{.PidsLimit}} {{.CpuShares}} {{.RestartPolicy.Name}}{{end}}' bounded
says bounded update --restart unless-stopped bounded
says unless-stopped inspect -f '{{.HostConfig.RestartPolicy.Name}}' bounded
complains 1 "memory limit" update --memory 1g bounded
complains 1 "Minimum memory limit allowed is 6MB" update --memory 1m bounded
kernel bounded memory/memory.limit_in_bytes $((96 * mib)) memory.max $((96 * mib))

step "stats, top, df"
ok stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' bounded
case $out in
"bounded "*" / 96MiB 1") ;;
*) fail "stats: $out" ;;
esac
ok top bounded
has "top" "sleep 1000" "$out"
ok system df -v
has "df" "Local Volumes space usage" "$out"
gone bounded

step "out of memory: the code, the state and the event"
ends 137 run $mine --name eater --memory 16m --memory-swap 16m "$image" \
    sh -c 'x=x; while :; do x=$x$x; done'
# With the systemd manager of cgroup v2 the cgroup may be gone before conmon has looked.
case $host in
"cgroup v2, systemd"*) ;;
*)
    says "true 137" inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eater
    ok info -f '{{.SystemTime}}'
    now=$out
    ok events --since "$since" --until "$now" --filter container=eater --format '{{.Action}}'
    has "its events" oom "$out"
    ;;
esac
gone eater

step "limits that cannot be"
complains 125 "Minimum memory limit allowed is 6MB" run --rm $mine --memory 1m "$image" true
complains 125 "memoryswap limit should be larger" run --rm $mine --memory 64m --memory-swap 32m "$image" true
complains 125 "Range of CPUs is from 0.01" run --rm $mine --cpus 4096 "$image" true
complains 125 "not available" run --rm $mine --cpuset-cpus 4000 "$image" true
complains 125 "cpu-shares" run --rm $mine --cpu-shares 1 "$image" true
complains 125 "not allowed" run --rm $mine --sysctl kernel.panic=1 "$image" true
complains 127 "no such file or directory" run --rm $mine --device /dev/nosuch "$image" true
complains 125 "could not select device driver" run --rm $mine --gpus all "$image" true

step "devices, ulimits, shared memory, sysctls, capabilities"
bounded --device /dev/full:/dev/mine:r --device-cgroup-rule 'c 1:7 w' --ulimit nofile=64:64 --shm-size 2m \
    --sysctl kernel.msgmax=4096 --cap-drop ALL --cap-add NET_RAW --security-opt no-new-privileges --oom-score-adj 500
ok exec bounded sh -c 'ls -l /dev/mine | cut -c1; ulimit -n; df -k /dev/shm | awk "NR > 1 { print \$2 }"
    cat /proc/sys/kernel/msgmax /proc/1/oom_score_adj; grep -e CapBnd -e NoNewPrivs /proc/1/status | cut -f 2'
same "what is inside" "c 64 2048 4096 500 0000000000002000 1" "$(echo $out)"
gone bounded

step "seccomp: a profile of one's own, and none"
cat >"$dir/seccomp.json" <<PROFILE
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
PROFILE
complains 1 "not permitted" run --rm $mine --security-opt "seccomp=$dir/seccomp.json" "$image" mkdir /new
ok run --rm $mine --security-opt seccomp=unconfined "$image" grep Seccomp: /proc/self/status
has "unconfined" 0 "$out"

step "namespaces: of the host, of another container, none"
ok run -d $mine --name donor --ipc shareable "$image" sleep 1000
ok run --rm $mine --pid container:donor --ipc container:donor "$image" ps -o args
has "the other's process" "sleep 1000" "$out"
gone donor
for kind in pid ipc uts; do
    says "$(readlink "/proc/self/ns/$kind")" run --rm $mine --$kind host "$image" readlink "/proc/self/ns/$kind"
done
ends 1 run --rm $mine --ipc none "$image" ls /dev/shm

step "volume: what nobody has any more goes"
says "$other
$twice
$only" volume rm $other $twice $only

all_is_gone
