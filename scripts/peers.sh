#!/usr/bin/env bash
# Fetches Debian's dockerd, containerd and podman for the benchmarks that measure beside them, and
# unpacks them below target/peers. They are not installed: no service of theirs starts, now or at the
# next boot.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=${CARGO_TARGET_DIR:-target}/peers
packages=(docker.io containerd podman)
# What their programs are linked with.
libraries=(libdevmapper1.02.1 libgpgme11 libseccomp2 libsubid4 libsystemd0)

say() { echo "peers: $*" >&2; }

is_complete() {
    [ -x "$peers/usr/sbin/dockerd" ] && [ -x "$peers/usr/bin/containerd" ] &&
        [ -x "$peers/usr/bin/podman" ]
}

main() {
    ! is_complete || return 0
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: only moored and plain tools are measured"
        return 0
    fi
    apt-get update -qq >&2
    # Installed when they are missing, left at their version when they are there.
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-upgrade --no-install-recommends \
        "${libraries[@]}" >&2
    mkdir -p "$peers/packages"
    (cd "$peers/packages" && apt-get download "${packages[@]}" >&2)
    for package in "$peers"/packages/*.deb; do
        dpkg-deb -x "$package" "$peers"
    done
    is_complete || say "the packages do not hold what they used to: some engines are left out"
}

main
