# What stats says is what the files of cgroup v2 say, by both runtimes and both managers of cgroups; sourced
# by job.sh. Leaves nothing.

# number KEY: the first one of that name in the record.
number() { grep -o "\"$1\":[0-9]*" <<<"$record" | head -n 1 | cut -d : -f 2; }
# value FILE KEY: of lines of a key and a number.
value() { awk -v key="$2" '$1 == key { print $2; found = 1 } END { if (!found) print 0 }' "$dir/$1"; }
files() { cat "$dir"/{cpu.stat,memory.current,memory.stat,memory.events,pids.current,io.stat} | grep -v nice_usec; }
equal() { [ "$2" = "$3" ] || fail "$about: $1: stats says $2, the kernel $3: $record"; }
stands_still() {
    local before
    before=$(files)
    record=$(ask "/containers/counted/stats?stream=0&one-shot=1") && [ "$(files)" = "$before" ]
}

mkdir -p /etc/moored /disk
for manager in systemd cgroupfs; do
    for runtime in runc crun; do
        about="$manager, $runtime"
        printf 'cgroup-manager = "%s"\n' $manager >/etc/moored/moored.toml
        systemctl start moored.socket
        systemctl restart moored
        # Pages of a file are on the account of who was the first to write them.
        rm -f /disk/it
        docker run -d --name counted --runtime $runtime --network none --memory 64m --pids-limit 20 --cpus 0.5 \
            -v /disk:/disk busybox sh -c 'dd if=/dev/zero of=/disk/it bs=64k count=16 conv=fsync 2>/dev/null
                n=0; while [ $n -lt 3000 ]; do n=$((n + 1)); done; sleep 1000 & echo done; wait' >/dev/null
        within 20 sh -c '[ "$(docker logs counted)" = done ]'
        docker pause counted >/dev/null
        id=$(docker inspect -f '{{.Id}}' counted)
        path=$(cut -d : -f 3 "/proc/$(docker inspect -f '{{.State.Pid}}' counted)/cgroup")
        # The container's own, though crun puts its processes into one below.
        dir=/sys/fs/cgroup$(sed -E "s,(/[^/]*$id[^/]*).*,\1," <<<"$path")
        within 20 stands_still
        equal "processor time" "$(number total_usage)" $(($(value cpu.stat usage_usec) * 1000))
        equal "user time" "$(number usage_in_usermode)" $(($(value cpu.stat user_usec) * 1000))
        equal "kernel time" "$(number usage_in_kernelmode)" $(($(value cpu.stat system_usec) * 1000))
        equal "periods" "$(number periods)" "$(value cpu.stat nr_periods)"
        equal "throttled periods" "$(number throttled_periods)" "$(value cpu.stat nr_throttled)"
        equal "throttled time" "$(number throttled_time)" $(($(value cpu.stat throttled_usec) * 1000))
        equal "processes" "$(grep -o '"pids_stats":{[^}]*}' <<<"$record")" \
            "\"pids_stats\":{\"current\":$(cat "$dir/pids.current"),\"limit\":20}"
        equal "memory" "$(grep -o '"memory_stats":{"usage":[0-9]*' <<<"$record")" \
            "\"memory_stats\":{\"usage\":$(cat "$dir/memory.current")"
        equal "its limit" "$(number limit) $(grep -o '},"limit":[0-9]*' <<<"$record")" "20 },\"limit\":$((64 << 20))"
        details=$(grep -o '"stats":{[^}]*}' <<<"$record" | grep -o '"[a-z_]*":[0-9][0-9]*' | tr -d '"')
        [ "$(wc -l <<<"$details")" = 31 ] || fail "$about: $details"
        for detail in $details; do
            # The disk is written to while one looks.
            case $detail in file_dirty:* | file_writeback:*) continue ;; esac
            equal "${detail%:*}" "${detail#*:}" "$(value memory.stat "${detail%:*}")"
        done
        written=$(sed -nE 's/.* wbytes=([0-9]+) .*/\1/p' "$dir/io.stat" | head -n 1)
        equal "written" "$(grep -o '"op":"write","value":[0-9]*' <<<"$record" | head -n 1)" "\"op\":\"write\",\"value\":$written"
        [ "$written" -ge 1048576 ] || fail "$about: only $written bytes were written"
        grep -q '"io_serviced_recursive":null' <<<"$record" || fail "$about: $record"
        docker unpause counted >/dev/null
        [ "$(docker stats --no-stream --format '{{.Name}} {{.PIDs}}' counted)" = "counted 2" ] || fail "$about: docker stats"
        docker rm -f counted >/dev/null
        echo "stats are the kernel's: $about, $(wc -l <<<"$details") lines of memory"
    done
done
rm -r /etc/moored/moored.toml /disk
systemctl stop moored.service moored.socket
