#!/usr/bin/env bash
# Builds the daemon, starts one on directories of its own, runs a container through curl on its
# socket, prints what the container said and how it ended, and leaves nothing behind. The container is on no
# network, and the host's firewall is not touched.
# MOORED=/path/to/moored uses that program instead of building one.
set -euo pipefail
cd "$(dirname "$0")/.."

NAME=demo
SAYS="Hello from a container: pid \$\$, \$(id -un) on \$(hostname)"
ENDS=7

if [ "$(id -u)" != 0 ]; then
    echo "demo: containers need root: sudo make run" >&2
    exit 1
fi

if [ -z "${MOORED:-}" ]; then
    cargo build --locked --quiet
    MOORED=${CARGO_TARGET_DIR:-target}/debug/moored
fi
DIR=$(mktemp -d "${TMPDIR:-/tmp}/moored-demo.XXXXXX")
SOCKET=$DIR/moored.sock
CGROUP=moored-demo-$$
DAEMON=

# api METHOD PATH [CURL OPTIONS]: the answer's body; fails on an error status, with its message.
api() {
    local method=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --unix-socket "$SOCKET" \
        --request "$method" "$@" "http://localhost/v1.45$path"
}

clean_up() {
    local status=$?
    trap - EXIT
    if [ -n "$DAEMON" ] && kill -0 "$DAEMON" 2>/dev/null; then
        [ "$status" = 0 ] || api DELETE "/containers/$NAME?force=1" >/dev/null 2>&1 || true
        kill -TERM "$DAEMON"
        wait "$DAEMON" || true
    fi
    if [ "$status" != 0 ]; then
        echo "demo: failed; the daemon's log:" >&2
        cat "$DIR/log" >&2 || true
    fi
    # The tmpfs that keeps exit codes stays for the next daemon; here none will come.
    umount "$DIR/run/exits" 2>/dev/null || true
    rm -rf --one-file-system "$DIR"
    find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} + 2>/dev/null || true
    exit "$status"
}

# An image in the form of `docker save`: one layer with a static busybox, one configuration.
make_image() {
    local out=$1 work=$DIR/image layer config applet
    mkdir -p "$work/root/bin" "$work/root/etc"
    cp /bin/busybox "$work/root/bin/busybox"
    for applet in sh echo id hostname; do
        ln -s busybox "$work/root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$work/root/etc/passwd"
    tar --create --file "$work/layer.tar" --directory "$work/root" \
        --owner 0 --group 0 --numeric-owner --sort name bin etc
    layer=$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)
    cat >"$work/config.json" <<CONFIG
{"architecture":"$(architecture)","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},
"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
CONFIG
    config=$(sha256sum "$work/config.json" | cut -d ' ' -f 1)
    mv "$work/config.json" "$work/$config.json"
    cat >"$work/manifest.json" <<MANIFEST
[{"Config":"$config.json","RepoTags":["$NAME:latest"],"Layers":["layer.tar"]}]
MANIFEST
    tar --create --file "$out" --directory "$work" manifest.json "$config.json" layer.tar
    rm -r "$work"
}

architecture() {
    case "$(uname -m)" in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
    esac
}

start_daemon() {
    "$MOORED" serve --socket "$SOCKET" --data-root "$DIR/data" --run-root "$DIR/run" \
        --cgroup-parent "$CGROUP" --config /dev/null --bridge none >"$DIR/log" 2>&1 &
    DAEMON=$!
    local tries=0
    until curl --silent --unix-socket "$SOCKET" http://localhost/_ping >/dev/null; do
        kill -0 "$DAEMON" 2>/dev/null || {
            echo "demo: the daemon has ended" >&2
            return 1
        }
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || {
            echo "demo: the daemon does not answer" >&2
            return 1
        }
        sleep 0.05
    done
}

main() {
    local id code
    trap clean_up EXIT
    make_image "$DIR/image.tar"
    start_daemon
    echo "== load an image"
    api POST /images/load --header 'Content-Type: application/x-tar' --upload-file "$DIR/image.tar"
    echo "== create, start, wait"
    id=$(api POST "/containers/create?name=$NAME" --header 'Content-Type: application/json' \
        --data '{"Image":"'"$NAME"'","Tty":true,"Cmd":["sh","-c","echo \"'"$SAYS"'\"; exit '"$ENDS"'"],"HostConfig":{"NetworkMode":"none"}}' |
        sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p')
    echo "container ${id:0:12}"
    api POST "/containers/$id/start"
    code=$(api POST "/containers/$id/wait" | sed -n 's/.*"StatusCode":\([0-9]*\).*/\1/p')
    echo "== its output"
    api GET "/containers/$id/logs?stdout=1&stderr=1"
    echo "== its exit code"
    echo "$code"
    api DELETE "/containers/$id"
    [ "$code" = "$ENDS" ] || {
        echo "demo: the container should have ended with $ENDS" >&2
        return 1
    }
}

main
