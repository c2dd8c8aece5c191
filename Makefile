# Everything is done by scripts or cargo; this file only names the ways in.

CARGO ?= cargo
CENSUS = $(CARGO) run --quiet --locked -p moored-testkit --bin moored-census --

PREFIX ?= /usr
UNITS ?= /usr/lib/systemd/system
.PHONY: help run test check setup soak bench vm install

help:
	@echo "make run    build, start a private daemon, run a container through curl, clean up"
	@echo "make test   every check and every test; as root, with real containers"
	@echo "make check  formatting and lints only"
	@echo "make soak   the tests against real programs, in their full length"
	@echo "make bench  measure against conmon, the runtime and tar by hand, and beside dockerd and podman"
	@echo "make vm     the tests that need systemd, cgroup v2 and every capability, in an emulated machine"
	@echo "make setup  install what the others need"
	@echo "make install  build, then put the program and the systemd units in place (DESTDIR, PREFIX, UNITS)"

setup:
	@scripts/setup.sh

run: setup
	@scripts/demo.sh

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --workspace --all-targets --locked --features failpoints -- -D warnings

test: setup check
	@[ "$$(id -u)" = 0 ] || { echo "make test: real containers need root: sudo make test" >&2; exit 1; }
	@scripts/compose.sh >/dev/null
	$(CENSUS) save target/census
	$(CARGO) test --workspace --locked --features failpoints --no-fail-fast
	$(CENSUS) since target/census

soak: setup
	MOORED_SOAK=1 $(CARGO) test --release --locked --features failpoints --test api --test cli --test faults --test fuzz

bench: setup
	@scripts/peers.sh
	$(CARGO) bench --locked --bench lifecycle --bench streams --bench bad_days --bench images --bench stats --bench networks

vm:
	@scripts/setup.sh vm
	@scripts/vm.sh

install:
	$(CARGO) build --release --locked
	install -D -m 755 $${CARGO_TARGET_DIR:-target}/release/moored $(DESTDIR)$(PREFIX)/bin/moored
	install -D -m 644 systemd/moored.service $(DESTDIR)$(UNITS)/moored.service
	install -D -m 644 systemd/moored.socket $(DESTDIR)$(UNITS)/moored.socket
