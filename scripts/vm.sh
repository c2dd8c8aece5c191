#!/usr/bin/env bash
# Boots an emulated machine (tests/vm/image.sh) and runs tests/vm/job.sh in it, with the daemon as it is
# released. The machine is made once and kept below the target directory.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${MOORED_VM_SECONDS:-1200}
target=${CARGO_TARGET_DIR:-target}

[ "$(id -u)" = 0 ] || { echo "make vm: making a machine's disk needs root: sudo make vm" >&2; exit 1; }
[ "$(uname -m)" = x86_64 ] || { echo "make vm: the machine is an x86_64 one" >&2; exit 1; }
${CARGO:-cargo} build --quiet --release --locked
mkdir -p "$target"
echo "vm: the machine's disk (two minutes, the first time)" >&2
tests/vm/image.sh "$target/vm"

share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
cp "$target/release/moored" systemd/moored.service systemd/moored.socket \
    tests/systemd/helpers.sh tests/systemd/cgroups.sh tests/systemd/journal.sh \
    tests/vm/{job,apparmor,checkpoints,stats,networks,sessions}.sh tests/session/*.sh "$share"
code=0
tests/vm/boot.sh "$target/vm" "$share" "$seconds" || code=$?
cat "$share/log"
[ "$code" = 0 ] || echo "vm: the job ended with $code" >&2
exit "$code"
