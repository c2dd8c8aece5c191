"""What tests written with testcontainers do: containers, waiting, ports, networks.

`session.py use` tidies up after itself; `session.py leave` starts things, says so, and when its stdin
ends goes away as a killed test run does: the reaper has to tidy up.
"""

import os
import sys
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    HttpWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)

SERVE = ["sh", "-c", "mkdir /srv; hostname > /srv/name; echo serving; exec httpd -f -v -p 80 -h /srv"]


def server():
    return DockerContainer("busybox").with_command(SERVE).with_exposed_ports(80)


def get(container, path):
    host, port = container.get_container_host_ip(), container.get_exposed_port(80)
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


def equal(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def use():
    with server().waiting_for(HttpWaitStrategy(80, "/name")) as one:
        short = one.get_wrapped_container().short_id
        equal(get(one, "/name").strip(), short)
        out, err = one.get_logs()
        assert b"serving" in out and b"response:200" in err, (out, err)
        done = one.exec(["sh", "-c", "echo out; exit 3"])
        equal((done.exit_code, done.output), (3, b"out\n"))
        # A second one gets a port of its own.
        with server().waiting_for(PortWaitStrategy(80)) as two:
            assert one.get_exposed_port(80) != two.get_exposed_port(80)
            equal(get(two, "/name").strip(), two.get_wrapped_container().short_id)
    print("one by one")

    with Network() as network:
        wait = LogMessageWaitStrategy("serving")
        named = server().with_network(network).with_network_aliases("server", "other")
        with named.waiting_for(wait) as one:
            with DockerContainer("busybox").with_command("sleep 1000").with_network(network) as two:
                for name in ["server", "other"]:
                    done = two.exec(["wget", "-q", "-O", "-", f"http://{name}/name"])
                    wanted = one.get_wrapped_container().short_id + "\n"
                    equal((done.exit_code, done.output.decode()), (0, wanted))
                two.get_wrapped_container().stop(timeout=0)
    print("on a network")


def leave():
    network = Network().create()
    client = network._docker.client
    one = server().with_network(network).with_network_aliases("server")
    one.waiting_for(LogMessageWaitStrategy("serving")).start()
    DockerContainer("busybox").with_command("sleep 1000").with_kwargs(network_mode="none").start()
    running = len(client.containers.list())
    print(f"{running} run", flush=True)
    sys.stdin.read()
    os._exit(0)


{"use": use, "leave": leave}[sys.argv[1]]()
