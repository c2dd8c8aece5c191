#!/usr/bin/env bash
# Puts the clients in place that the tests drive and Debian 12 does not have: Docker Compose v2 and
# testcontainers for Python. Both go below target/clients; nothing is installed, and what is there is
# left alone. Prints the directory.
set -euo pipefail
cd "$(dirname "$0")/.."

clients=${CARGO_TARGET_DIR:-target}/clients
mkdir -p "$clients"
clients=$(cd "$clients" && pwd)
# Debian 13 has Compose v2; its package needs nothing that Debian 12 lacks.
suite=trixie
testcontainers=testcontainers==4.13.3

say() { echo "compose: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# speaks_v2 PROGRAM: whether it is a Compose of the second generation.
speaks_v2() {
    case "$("$1" version --short 2>/dev/null)" in
    v[2-9].* | [2-9].*) return 0 ;;
    *) return 1 ;;
    esac
}

# The system's own, where it is new enough.
link_own() {
    local found
    for found in /usr/libexec/docker/cli-plugins/docker-compose \
        /usr/lib/docker/cli-plugins/docker-compose "$(command -v docker-compose || true)"; do
        if [ -n "$found" ] && [ -x "$found" ] && speaks_v2 "$found"; then
            ln -sf "$found" "$clients/docker-compose"
            return 0
        fi
    done
    return 1
}

# apt_of_suite COMMAND...: apt-get with a list of its own, which knows that suite alone.
apt_of_suite() {
    local state=$clients/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    cat >"$state/sources.list" <<LIST
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main
LIST
    apt-get -q -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@" >&2
}

fetch_compose() {
    local package found
    command -v apt-get >/dev/null || fail "no apt-get here: install Docker Compose v2 by hand"
    say "fetching docker-compose of Debian $suite"
    apt_of_suite update
    rm -f "$clients"/docker-compose_*.deb
    # The user that apt-get drops to may not write here.
    (cd "$clients" && apt_of_suite -o APT::Sandbox::User=root download docker-compose)
    package=$(echo "$clients"/docker-compose_*.deb)
    rm -rf "$clients/unpacked"
    dpkg-deb -x "$package" "$clients/unpacked"
    found=$(find "$clients/unpacked" -type f -name docker-compose -perm -100 | head -n 1)
    [ -n "$found" ] || fail "the package does not hold what it used to"
    install -m 755 "$found" "$clients/docker-compose"
    rm -rf "$clients/unpacked" "$clients/apt" "$package"
    speaks_v2 "$clients/docker-compose" || fail "what was fetched does not run here"
}

fetch_testcontainers() {
    say "installing $testcontainers into an environment of its own"
    rm -rf "$clients/python"
    python3 -m venv "$clients/python"
    "$clients/python/bin/pip" install --quiet --disable-pip-version-check "$testcontainers" >&2
    "$clients/python/bin/python" -c 'import testcontainers'
}

# Tests of several binaries may want them at once.
main() {
    exec 9>"$clients/lock"
    flock 9
    if ! { [ -x "$clients/docker-compose" ] && speaks_v2 "$clients/docker-compose"; }; then
        link_own || fetch_compose
    fi
    [ -e "$clients/python/$testcontainers" ] || {
        fetch_testcontainers
        touch "$clients/python/$testcontainers"
    }
    echo "$clients"
}

main
