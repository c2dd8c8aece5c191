#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks. Quiet when nothing is missing.
# Nothing is started, nothing that is there is changed or upgraded.
set -euo pipefail
cd "$(dirname "$0")/.."

# setup.sh [vm]: what the machine of `make vm` needs, too.
for_vm=no
[ "${1-}" != vm ] || for_vm=yes

say() { echo "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# have PROGRAM: as root would find it, whatever our PATH is.
have() {
    PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1
}

# Whether busybox can run where there is no libc: images are made of it.
have_static_busybox() {
    [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1
}

check_rust() {
    local needed found
    have cargo || fail "cargo is missing: install Rust from https://rustup.rs and try again"
    needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    found=$(cargo --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
        fail "Rust $found is too old, $needed is needed: rustup update"
    fi
    cargo fmt --version >/dev/null 2>&1 || fail "rustfmt is missing: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || fail "clippy is missing: rustup component add clippy"
}

# The names of the Debian packages that are missing.
missing_packages() {
    local program package
    while read -r program package; do
        have "$program" || echo "$package"
    done <<'PROGRAMS'
conmon conmon
runc runc
crun crun
catatonit catatonit
curl curl
docker-registry docker-registry
openssl openssl
sqlite3 sqlite3
ip iproute2
ps procps
mount mount
nsenter util-linux
mkfs.ext4 e2fsprogs
systemd-nspawn systemd-container
systemctl systemd
dbus-daemon dbus
bash bash
find findutils
pgrep procps
tar tar
gzip gzip
zstd zstd
skopeo skopeo
make make
cc gcc
nft nftables
iptables iptables
python3 python3
PROGRAMS
    [ "$for_vm" = no ] || while read -r program package; do
        have "$program" || echo "$package"
    done <<'PROGRAMS'
qemu-system-x86_64 qemu-system-x86
mmdebstrap mmdebstrap
cpio cpio
PROGRAMS
    # Not on $PATH: they are podman's.
    for program in netavark aardvark-dns; do
        [ -x "/usr/lib/podman/$program" ] || [ -x "/usr/libexec/podman/$program" ] ||
            have "$program" || echo "$program"
    done
    python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    have_static_busybox || echo busybox-static
    [ -e /usr/include/stdlib.h ] || echo libc6-dev
    if ! have docker; then
        # Newer releases have the client alone; in older ones it comes with its daemon.
        if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "not root and no sudo: run as root: $*"
    fi
}

# Installs packages without letting any of their services start.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made_policy=no
    if [ ! -e "$policy" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    local status=0
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@" >&2 || status=$?
    if [ "$made_policy" = yes ]; then
        as_root rm -f "$policy"
    fi
    return "$status"
}

main() {
    local packages
    check_rust
    if ! have apt-get; then
        have conmon && (have runc || have crun) && have curl && have_static_busybox && return 0
        fail "no apt-get here: install conmon, runc, crun, netavark, aardvark-dns, catatonit, a static busybox, curl, sqlite3, iproute2, e2fsprogs, a C compiler and the docker client by hand"
    fi
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    say "updating the list of packages"
    as_root apt-get update -qq >&2
    # Which package has the docker client is only known now.
    mapfile -t packages < <(missing_packages)
    say "installing: ${packages[*]}"
    install_packages "${packages[@]}" || fail "apt-get could not install them"
    case " ${packages[*]} " in
    *" docker.io "*)
        # Only the client is wanted; its daemon shall not come with the next boot either.
        if have systemctl; then
            as_root systemctl disable docker.service docker.socket containerd.service >/dev/null 2>&1 || true
        fi
        ;;
    esac
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" = 0 ] || fail "still missing after the installation: ${packages[*]}"
}

main
