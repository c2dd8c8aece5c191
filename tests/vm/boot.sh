#!/bin/bash
# Boots the machine of image.sh, runs SHARE/job.sh in it as root, and ends with its code:
#
#   boot.sh DIR SHARE SECONDS
#
# Emulated in software, so that it needs no /dev/kvm: ten to fifty times slower than the host. The disk
# is not changed. What the job says is in SHARE/log, what the kernel says in SHARE/console.
set -uo pipefail
dir=$1 share=$2 seconds=$3
rm -f "$share/code"
timeout -k 5 "$seconds" qemu-system-x86_64 \
    -M q35,usb=off,sata=off,smbus=off,vmport=off,hpet=off -accel tcg,thread=multi,tb-size=512 \
    -cpu max,la57=off -smp 2 -m 2G -nodefaults -no-user-config -display none -no-reboot \
    -kernel "$dir/vmlinuz" -initrd "$dir/initrd.img" \
    -append "root=/dev/vda rw quiet console=hvc0 mitigations=off nokaslr audit=0 random.trust_cpu=on \
tsc=reliable no_timer_check panic=-1 systemd.show_status=false" \
    -drive "if=none,id=disk,cache=unsafe,file=$dir/root.ext4,format=raw,snapshot=on" \
    -device virtio-blk-pci,drive=disk \
    -device virtio-serial-pci -chardev "file,id=console,path=$share/console" -device virtconsole,chardev=console \
    -object rng-random,filename=/dev/urandom,id=random -device virtio-rng-pci,rng=random \
    -virtfs "local,path=$share,mount_tag=share,security_model=none,multidevs=remap" </dev/null
code=$(cat "$share/code" 2>/dev/null) || {
    echo "the machine did not come to an end of its job; the end of its console:" >&2
    tail -n 40 "$share/console" >&2
    exit 125
}
exit "$code"
