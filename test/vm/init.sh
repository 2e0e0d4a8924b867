#!/bin/busybox sh
# The guest's first process: modules, the host's root (read-only, an overlay of memory over it), then the job.
# What the job prints goes to the second serial port; its exit code is the last line there.
busybox mkdir -p /proc /sys /dev /host /over /job
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in $(busybox cat /modules.list); do
  # A physical function that is ours may have virtual ones.
  case $module in vfio-pci.ko) with=enable_sriov=1 ;; *) with= ;; esac
  busybox insmod "/modules/$module" $with || busybox echo "insmod $module failed"
done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,ro,cache=loose host /host
busybox mount -t tmpfs none /over
busybox mkdir -p /over/upper /over/work /root9
busybox mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work none /root9
for place in proc sys dev; do busybox mount --move /$place /root9/$place; done
busybox mount -t tmpfs none /root9/run
busybox mkdir -p /root9/run/job /root9/dev/pts /root9/dev/shm /root9/sys/fs/bpf
busybox mount -t devpts none /root9/dev/pts
busybox mount -t tmpfs none /root9/dev/shm
busybox mount -t bpf none /root9/sys/fs/bpf
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 job /root9/run/job
busybox chroot /root9 /bin/sh /run/job/run.sh > /root9/dev/ttyS1 2>&1 < /root9/dev/null
code=$?
busybox echo "exit $code" > /root9/dev/ttyS1
busybox sync
busybox poweroff -f
