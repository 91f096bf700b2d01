#!/bin/busybox sh
# The first process of the Linux that an emulator runs: loads KVM, says how it maps guests, and runs the system tests.
# The lines that start with `lane: ` are read by who started the emulator.

/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
# What a machine's own first process makes, and scripts rely on.
ln -s /proc/self/fd /dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${stream%%:*}" "/dev/${stream##*:}"; done
cd /tmp

for module in $(cat /lane/modules); do
    insmod "/modules/$module.ko" || echo "lane: module $module can't be loaded"
done
parameter=$(cat /lane/parameter)
echo "lane: fact: Linux $(uname -r), $parameter $(cat "/sys/module/$parameter")"

export FREEHOLD_TARGET_DIR=/freehold FREEHOLD_REQUIRE_LANES=kvm
vmm_stub=/freehold/release/vmm-stub
"$vmm_stub" doctor | sed -n 's/^KVM: */lane: fact: doctor: /p; s/^ *paging: /lane: fact: paging: /p'

# What KVM's page tables for a guest's memory map at its end, by size of page.
echo 64 > /proc/sys/vm/nr_hugepages
for backing in anonymous thp hugetlb-2m; do
    "$vmm_stub" run /freehold/appliances/memory-stress --memory 96M --log error --timeout 60s --backing "$backing" \
        --stats /tmp/statistics -- --size 64M --method random > /tmp/said 2>&1
    status=$?
    mapped=$(sed -n 's/.*"mapped":{\([^}]*\)}.*/\1/p' /tmp/statistics)
    if [ "$status" = 0 ] && [ -n "$mapped" ]; then
        echo "lane: fact: backing $backing: $mapped pages mapped"
    else
        cat /tmp/said
        echo "lane: memory-stress on backing $backing ended with $status, and statistics '$mapped'"
    fi
    rm -f /tmp/statistics
done
echo 0 > /proc/sys/vm/nr_hugepages

/bin/system-tests --test-threads 1 --color never $(cat /lane/arguments)
echo "lane: status $?"
# The kernel's own trouble with what was done to its KVM, which it does not print while it can go on.
dmesg | grep -E 'WARNING:|BUG:|Oops' | sed 's/^/lane: the kernel says: /'
# The emulated serial port sends what it holds.
sleep 1
poweroff -f
