# Networks with this machine's netavark, aardvark-dns and firewall, which are later ones than those of the
# tests outside: names, ports of three protocols and two families, drivers, isolation, a firewall that is
# flushed, a daemon that is restarted; sourced by job.sh. Leaves nothing.

cat >/run/talk.py <<'PYTHON'
# talk.py serve PROTOCOL PORT WORD: answers whoever asks, in both families.
# talk.py ask PROTOCOL ADDRESS PORT [SECONDS]: prints the answer.
# talk.py name SERVER NAME: the address of that name, asked for by TCP.
import socket, struct, sys
KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
if sys.argv[1] == "name":
    s = socket.create_connection((sys.argv[2], 53), 10)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[3].split("."))
    asked = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + struct.pack(">B2H", 0, 1, 1)
    s.sendall(struct.pack(">H", len(asked)) + asked)
    wanted = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
    print(socket.inet_ntoa(s.recv(wanted, socket.MSG_WAITALL)[-4:]))
    sys.exit()
way, protocol, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
kind, number = KINDS[protocol]
if way == "serve":
    s = socket.socket(socket.AF_INET6, kind, number)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", int(rest[0])))
    word = rest[1].encode()
    if protocol == "udp":
        while True:
            s.sendto(word, s.recvfrom(64)[1])
    s.listen()
    while True:
        peer = s.accept()[0]
        peer.sendall(word)
        peer.close()
family = socket.AF_INET6 if ":" in rest[0] else socket.AF_INET
s = socket.socket(family, kind, number)
s.settimeout(float(rest[2]) if len(rest) > 2 else 10)
s.connect((rest[0], int(rest[1])))
if protocol == "udp":
    s.send(b"?")
print(s.recv(64).decode())
PYTHON
talk() { python3 /run/talk.py "$@"; }
pid_of() { docker inspect -f '{{.State.Pid}}' "$1"; }
# inside CONTAINER COMMAND...: in its network, with this machine's programs.
inside() { nsenter -n -t "$(pid_of "$1")" "${@:2}"; }
# serve CONTAINER PROTOCOL PORT WORD: from within the container's network.
servers=()
serve() {
    inside "$1" python3 /run/talk.py serve "$2" "$3" "$4" &
    servers+=($!)
    within 10 inside "$1" python3 /run/talk.py ask "$2" 127.0.0.1 "$3"
}
address() { docker inspect -f "{{.NetworkSettings.Networks.$2.${3-IPAddress}}}" "$1"; }
# answers WORD [inside CONTAINER] PROTOCOL ADDRESS PORT
answers() {
    local word=$1 said
    shift
    if [ "$1" = inside ]; then
        said=$(inside "$2" python3 /run/talk.py ask "${@:3}" 2>&1)
    else
        said=$(talk ask "$@" 2>&1)
    fi
    [ "$said" = "$word" ] || fail "$word does not answer: $*: $said: $(iptables-save; nft list ruleset 2>&1)"
}
silent() { inside "$1" python3 /run/talk.py ask "${@:2}" 3 >/dev/null 2>&1 && fail "$* answers"; true; }
sleeper() { docker run -d --name "$1" "${@:2}" busybox sleep 100000 >/dev/null; }
# What has an address in the firewall, the interfaces and the mounts: all that networks leave anywhere.
left() {
    { nft list ruleset; iptables-save; ip6tables-save; } 2>/dev/null | grep -E '10\.(8|9)[0-9]\.|172\.(1[7-9]|2|3)|fd9' 
    ip -o link | grep -vE ': (lo|sit0|tunl0|ip6tnl0)[:@]'
    grep netns /proc/mounts
    pgrep -a aardvark-dns
}

modprobe -a sctp dummy macvlan ipvlan 8021q || fail "the kernel's modules"
systemctl start moored.socket
echo "$(/usr/lib/podman/netavark --version | head -n 1), $(/usr/lib/podman/aardvark-dns --version | head -n 1)"

# The default network: its bridge is there before the first container.
docker info >/dev/null
within 60 sh -c 'ip -br addr show moored0 2>/dev/null | grep -q 172.17.0.1/16'
sleeper one -p 8001:81 -p 8002:82/udp -p 8003:83/sctp -p 127.0.0.1:8004:81
sleeper two
for protocol in "tcp 81" "udp 82" "sctp 83"; do
    # shellcheck disable=SC2086
    serve one $protocol "one"
done
gateway=$(address one bridge Gateway)
answers one tcp "$(address one bridge)" 81
answers one inside two tcp "$(address one bridge)" 81
for at in 127.0.0.1 "$gateway"; do
    answers one tcp "$at" 8001
    answers one udp "$at" 8002
    answers one sctp "$at" 8003
done
answers one tcp 127.0.0.1 8004
answers one inside two tcp "$gateway" 8001
answers one inside two udp "$gateway" 8002
answers one inside one tcp "$gateway" 8001
[ "$(docker port one 81/tcp | sed -n 1p)" = 0.0.0.0:8001 ] || fail "docker port: $(docker port one)"
echo "the default network: tcp, udp and sctp are published"

# Names, and networks apart.
docker network create --subnet 10.91.0.0/24 apart >/dev/null
docker network create --ipv6 --subnet 10.92.0.0/24 --subnet fd92::/64 mine >/dev/null
sleeper three --network mine --network-alias alias -p 8011:81
sleeper four --network mine
sleeper five --network apart
serve three tcp 81 three
[ "$(address three mine)" = 10.92.0.2 ] || fail "its address: $(docker inspect three)"
for name in three alias; do
    [[ $(docker exec four nslookup "$name") == *10.92.0.2* ]] || fail "$name: $(docker exec four nslookup "$name" 2>&1)"
done
[[ $(docker exec four nslookup -type=aaaa three) == *fd92::* ]] || fail "its IPv6 address has no name"
docker rename three third
within 10 sh -c 'docker exec four nslookup third | grep -q 10.92.0.2'
timeout 60 docker exec five nslookup third >/dev/null 2>&1 && fail "a name of another network is told"
answers three inside four tcp 10.92.0.2 81
answers three inside four tcp "$(address third mine GlobalIPv6Address)" 81
answers three tcp "$(address third mine GlobalIPv6Address)" 81
answers three tcp fd92::1 8011
answers three tcp 127.0.0.1 8011
answers three inside four tcp 10.92.0.1 8011
# Through the firewall another network's container is not reached, but by its ports.
silent five tcp 10.92.0.2 81
silent two tcp 10.92.0.2 81
answers three inside five tcp 10.91.0.1 8011
answers one inside five tcp 10.91.0.1 8001
docker network connect apart four
[[ $(docker exec five nslookup four) == *10.91.0* ]] || fail "the name of one that was connected"
serve four tcp 84 four
answers four inside five tcp "$(address four apart)" 84
docker network disconnect apart four
silent five tcp "$(address four mine)" 84
echo "names are told, and networks are apart"

# Internal, and drivers without a bridge.
docker network create --internal --subnet 10.93.0.0/24 closed >/dev/null
sleeper six --network closed
sleeper seven --network closed
serve six tcp 86 six
answers six inside seven tcp "$(address six closed)" 86
[ -z "$(inside six ip route show default)" ] || fail "an internal network has a way out"
[[ $(docker exec seven nslookup six) == *10.93.0* ]] || fail "names of an internal network"
for driver in macvlan ipvlan; do
    docker network create -d $driver --subnet 10.94.0.0/24 off >/dev/null
    sleeper eight --network off
    sleeper nine --network off
    serve eight tcp 88 eight
    answers eight inside nine tcp "$(address eight off)" 88
    docker rm -f eight nine >/dev/null
    docker network rm off >/dev/null
    ip -o link | grep -E ' d[mi]-' && fail "$driver: its interface is left"
done
echo "internal, macvlan and ipvlan networks"

# VLANs: another host is on the wire, and has one of them.
ip link add up0 type veth peer name wire0
ip link set up0 up
ip netns add wire
ip link set wire0 netns wire
ip netns exec wire sh -c 'ip link set wire0 up && ip link add link wire0 name in10 type vlan id 10 &&
    ip addr add 10.94.0.100/24 dev in10 && ip link set in10 up'
on_wire() { ip netns exec wire python3 /run/talk.py ask tcp "$(address eight tagged)" 88; }
for driver in macvlan ipvlan; do
    docker network create -d $driver --subnet 10.94.0.0/24 -o parent=up0.10 tagged >/dev/null
    docker network create -d $driver --subnet 10.95.0.0/24 -o parent=up0.10 beside >/dev/null
    sleeper eight --network tagged
    serve eight tcp 88 eight
    [ "$(on_wire)" = eight ] || fail "$driver: the VLAN is not the wire's: $(ip -d link)"
    docker rm -f eight >/dev/null
    # As after a reboot.
    ip link delete up0.10
    sleeper eight --network tagged
    serve eight tcp 88 eight
    [ "$(on_wire)" = eight ] || fail "$driver: the VLAN's interface is not made again: $(ip -d link)"
    docker rm -f eight >/dev/null
    docker network rm tagged >/dev/null
    ip link show up0.10 >/dev/null || fail "$driver: it went, and a network is on it"
    # The next daemon knows whose it is, and takes away what one that was killed left.
    ip link add link up0 name up0.12 type vlan id 12
    touch /run/moored/networks/vlans/up0.12
    systemctl kill -s KILL moored.service
    within 20 docker ps
    within 20 sh -c '! ip link show up0.12'
    docker network rm beside >/dev/null
    ip link show up0.10 >/dev/null 2>&1 && fail "$driver: the VLAN's interface is left"
    # What the host had stays, and what cannot be made leaves nothing.
    ip link add link up0 name up0.10 type vlan id 10
    docker network create -d $driver --subnet 10.94.0.0/24 -o parent=up0.10 theirs >/dev/null
    docker network rm theirs >/dev/null
    ip link set up0.10 name other
    timeout 60 docker network create -d $driver --subnet 10.94.0.0/24 -o parent=up0.10 no 2>&1 |
        grep -q "failed to create up0.10 vlan link: file exists" || fail "$driver: two interfaces for a VLAN"
    ip link delete other
    ip link set up0 down
    timeout 60 docker network create -d $driver --subnet 10.94.0.0/24 -o parent=up0.10 no 2>&1 |
        grep -q "failed to enable up0.10 the $driver parent link" || fail "$driver: a parent that is down"
    ip link set up0 up
    [ -z "$(ls /run/moored/networks/vlans; ip -o link | grep up0.1)" ] || fail "$driver: left: $(ip -br link)"
done
ip netns delete wire
umount /run/netns
within 10 sh -c '! ip link show up0'
echo "networks on VLANs"

# Port 53 is a container's, and names are found all the same.
knows_names() {
    [[ $(docker exec four nslookup third) == *10.92.0.2* ]] || fail "names beside a name server: $(nft list ruleset)"
    [ "$(inside four python3 /run/talk.py name 10.92.0.1 third)" = 10.92.0.2 ] || fail "names by TCP: $(nft list ruleset)"
}
knows_names
sleeper ten -p 53:53/udp -p 53:53/tcp
serve ten udp 53 ten
serve ten tcp 53 ten
has_port() {
    for protocol in udp tcp; do
        answers ten $protocol 127.0.0.1 53
        answers ten inside two $protocol "$gateway" 53
    done
}
has_port
knows_names
nft list tables | grep -q moored/ || fail "port 53 is a container's, and nobody is led elsewhere"
nft flush ruleset
systemctl kill -s HUP --kill-whom=main moored.service
within 60 sh -c 'python3 /run/talk.py ask tcp 127.0.0.1 53 1 && nft list tables | grep moored/'
has_port
knows_names
docker rm -f ten >/dev/null
knows_names
echo "names beside a container's own name server"

# Somebody takes all rules away. Who is started right then has its own.
nft flush ruleset
sleeper eleven -p 8021:81
serve eleven tcp 81 eleven
answers eleven tcp 127.0.0.1 8021
answers eleven inside four tcp 10.92.0.1 8021
docker rm -f eleven >/dev/null
within 60 sh -c 'python3 /run/talk.py ask tcp 10.92.0.1 8011 1'
within 60 sh -c 'python3 /run/talk.py ask udp 127.0.0.1 8002 1'
answers one tcp 127.0.0.1 8001
answers one sctp 127.0.0.1 8003
silent five tcp 10.92.0.2 81
answers three inside five tcp 10.91.0.1 8011
echo "rules that were flushed are put back"

# The next daemon.
systemctl kill -s KILL moored.service
within 20 docker ps
answers one tcp 127.0.0.1 8001
[[ $(docker exec four nslookup third) == *10.92.0.2* ]] || fail "names in the next daemon"
docker restart -t 0 four >/dev/null
[[ $(docker exec four nslookup third) == *10.92.0.2* ]] || fail "names after a restart"
docker rm -f one two third four five six seven >/dev/null
docker network rm mine apart closed >/dev/null
within 10 sh -c '! nft list tables | grep moored/ && ! pgrep aardvark-dns'

# A name server of the host's own, which was there first.
for protocol in udp tcp; do
    python3 /run/talk.py serve $protocol 53 host &
    servers+=($!)
    within 10 python3 /run/talk.py ask $protocol 127.0.0.1 53
done
docker network create --subnet 10.92.0.0/24 mine >/dev/null
sleeper third --network mine
sleeper four --network mine
knows_names
for protocol in udp tcp; do
    answers host $protocol 127.0.0.1 53
done
docker rm -f third four >/dev/null
docker network rm mine >/dev/null
within 10 sh -c '! nft list tables | grep moored/'
echo "names beside a name server of the host"
systemctl stop moored.service moored.socket
within 10 sh -c '! pgrep aardvark-dns'
# The default network's bridge stays without a daemon, until the next is to have none.
ip -br addr show moored0 | grep -q "$gateway/16" || fail "the default network's bridge: $(ip -br addr)"
[ "$(ip -o link | grep -cE ' (moored0|m[ap]-[0-9a-f]{12})[:@]')" = 3 ] || fail "its interfaces: $(ip -br link)"
mkdir -p /etc/moored
printf '[networks]\nbridge = "none"\n' >/etc/moored/moored.toml
systemctl start moored.socket moored.service
within 60 sh -c '! ip link show moored0 >/dev/null 2>&1 && ! nft list ruleset | grep -q moored0'
systemctl stop moored.service moored.socket
rm /etc/moored/moored.toml
[ -z "$(left)" ] || fail "left: $(left)"
[ -z "$(ls /run/moored/netns 2>/dev/null)" ] || fail "a namespace is left: $(ls /run/moored/netns)"
pkill -P "$(IFS=,; echo "${servers[*]}")"
rm /run/talk.py
echo "nothing of networks is left"
