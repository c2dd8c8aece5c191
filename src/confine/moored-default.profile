# AppArmor profile of containers that name none. Written and loaded by moored; changes are lost.
#
# Everything a container may do by its capabilities, but what reaches the host through files that no
# namespace holds: parameters of the kernel, of its devices and of its security. It needs no other file.
profile moored-default flags=(attach_disconnected,mediate_deleted) {
  capability,
  file,
  network,
  umount,

  # Sockets of the kernel's ciphers have been ways into it, and programs have libraries for that.
  deny network alg,

  # Nobody outside but what is unconfined (the daemon, conmon) and the OCI runtimes.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (receive) peer=/usr/bin/runc,
  signal (receive) peer=/usr/bin/crun,
  signal (receive) peer=/usr/sbin/runc,
  signal (send, receive) peer=moored-default,
  ptrace (trace, read, tracedby, readby) peer=moored-default,

  deny mount,

  # Files directly in /proc, and of its parts what is no process's own.
  deny /proc/* w,
  deny /proc/{acpi,asound,bus,driver,dynamic_debug,fs,irq,scsi,tty}/** wklx,
  deny /proc/sys/[^k]** wklx,
  # Of the kernel's parameters, those of the ipc namespace are the container's own: msg*, sem, shm*.
  deny /proc/sys/kernel/[^ms]** wklx,
  deny /proc/sys/kernel/m[^s]** wklx,
  deny /proc/sys/kernel/s[^eh]** wklx,
  deny /proc/sys/kernel/seccomp/** wklx,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,
  deny /proc/kmem rwklx,
  deny /proc/mem rwklx,

  # All of sysfs but cgroups, which are read-only where they are not the container's.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
