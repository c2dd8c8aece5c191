#!/bin/bash
# Makes a machine: Debian trixie with systemd, cgroup v2, AppArmor, CRIU, netavark and both OCI runtimes,
# as DIR/vmlinuz, DIR/initrd.img and DIR/root.ext4.
#
#   image.sh DIR
#
# Takes two minutes and half a gigabyte of downloads; what is there already and was made by this very
# script is left as it is.
set -euo pipefail
dir=$1
me=$(realpath "$0")
stamp=$(sha256sum "$me" | cut -d ' ' -f 1)
[ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ] && exit 0
rm -rf "$dir"
mkdir -p "$dir"
root=$dir/root

packages=(
    linux-image-amd64 systemd systemd-sysv dbus udev kmod procps iproute2 util-linux e2fsprogs
    conmon runc crun criu libcriu2 iptables nftables netavark aardvark-dns catatonit apparmor busybox-static curl
    docker-cli ca-certificates python3
)
mmdebstrap --quiet --mode=root --variant=minbase \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    trixie "$root"

# The oldest conmon we work with, of Debian 12, beside trixie's own.
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" bash -euc '
    echo "deb http://deb.debian.org/debian bookworm main" >/etc/apt/sources.list.d/old.list
    apt-get update -qq
    cd /tmp
    apt-get download -qq conmon/bookworm
    dpkg-deb --fsys-tarfile conmon_*.deb | tar -x -O ./usr/bin/conmon >/usr/bin/conmon-old
    chmod 755 /usr/bin/conmon-old
    rm /etc/apt/sources.list.d/old.list conmon_*.deb
'

# The kernel's modules, unpacked: xz takes seconds each where all is emulated. Drivers of hardware that
# no machine of this kind has go.
version=$(ls "$root/usr/lib/modules" | head -n 1)
modules=$root/usr/lib/modules/$version
(
    cd "$modules/kernel"
    rm -rf sound drivers/{gpu,media,infiniband,staging,iio,hwmon,usb,scsi,ata,nvme,input,hid,mmc,mtd,video} \
        drivers/{bluetooth,accel,edac,target,net/ethernet,net/wireless} \
        net/{bluetooth,wireless,mac80211,ceph,sunrpc} fs/{ocfs2,gfs2,ceph,nfs,nfsd,smb,afs,f2fs}
    find . -name '*.ko.xz' -print0 | xargs -0 -P 2 -n 64 unxz
)
chroot "$root" depmod "$version"

# Nothing runs but systemd, the bus and the job.
chroot "$root" bash -euc '
    passwd -d root >/dev/null
    echo bed >/etc/hostname
    : >/etc/fstab
    systemd-machine-id-setup >/dev/null 2>&1
    systemctl mask -q getty.target serial-getty@hvc0.service ldconfig.service systemd-timesyncd.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
        e2scrub_reap.service fstrim.timer systemd-hwdb-update.service systemd-binfmt.service \
        systemd-update-done.service systemd-journal-catalog-update.service systemd-growfs-root.service
'
cat >"$root/etc/systemd/system/job.service" <<'UNIT'
[Unit]
After=basic.target dbus.socket apparmor.service
[Service]
Type=exec
ExecStart=/usr/local/sbin/job
Delegate=yes
StandardInput=null
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
UNIT
cat >"$root/usr/local/sbin/job" <<'JOB'
#!/bin/bash
# Runs the share's job and turns the machine off.
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /host
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /host || systemctl poweroff -ff
/bin/bash /host/job.sh >/host/log 2>&1
echo $? >/host/code
sync
umount /host
systemctl poweroff -ff
JOB
chmod 755 "$root/usr/local/sbin/job"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../job.service "$root/etc/systemd/system/multi-user.target.wants/job.service"
printf 'overlay\n9p\n9pnet_virtio\n' >"$root/etc/modules-load.d/bed.conf"

# A first root that mounts the disk and goes there.
first=$dir/first
mkdir -p "$first"/{bin,dev,proc,sys,root,modules}
cp "$root/usr/bin/busybox" "$first/bin/busybox"
ln -s busybox "$first/bin/sh"
for module in virtio_pci virtio_blk ext4; do
    chroot "$root" modprobe -S "$version" -D "$module" | awk '$1 == "insmod" { print $2 }'
done | awk '!seen[$0]++' | while read -r file; do
    cp "$root$file" "$first/modules/"
    basename "$file" >>"$first/order"
done
cat >"$first/init" <<'INIT'
#!/bin/sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done </order
until [ -b /dev/vda ]; do $b usleep 20000; done
$b mount -t ext4 -o rw,noatime /dev/vda /root
for dir in dev sys proc; do $b mount --move /$dir /root/$dir; done
exec $b switch_root /root /sbin/init
INIT
chmod 755 "$first/init"
(cd "$first" && find . | cpio -o -H newc --quiet) | zstd -q -3 -o "$dir/initrd.img"
cp "$root/boot/vmlinuz-$version" "$dir/vmlinuz"

rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
mke2fs -q -t ext4 -O '^has_journal' -d "$root" -L root "$dir/root.ext4" 4G
rm -rf "$root" "$first"
echo "$stamp" >"$dir/stamp"
