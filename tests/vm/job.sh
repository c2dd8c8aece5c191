# What is to be seen on a machine with systemd, cgroup v2 and every capability; runs inside it.
set -u
slowness=6
. /host/helpers.sh

install_moored
systemctl daemon-reload
systemctl start moored.socket
make_image
echo "$(docker info -f '{{.CgroupDriver}} {{.CgroupVersion}} {{.DefaultRuntime}}') $(conmon --version | head -n 1)"
[ "$(docker info -f '{{.CgroupVersion}}')" = 2 ] || fail "cgroup v2 is not seen"
. /host/journal.sh
systemctl stop moored.service moored.socket

. /host/cgroups.sh
. /host/apparmor.sh
. /host/checkpoints.sh
. /host/stats.sh
. /host/networks.sh
. /host/sessions.sh
[ "$(pgrep -c conmon)" = 0 ] || fail "conmon is left: $(pgrep -a conmon)"
echo done
