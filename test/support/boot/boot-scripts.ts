/** What the guest says on its serial line, and what it waits for there. */
export const guestLines = {
  /** Followed by the marks that it found, joined by `+`, or `none`. */
  found: 'guest found marks:',
  /** Followed by its own mark. */
  wrote: 'guest wrote mark:',
  /** Read from the serial line: ends the guest. */
  powerOff: 'power-off',
} as const;

/** Finds the disk and goes on from there. */
export const initramfsInit = `#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
modprobe virtio_pci
modprobe virtio_blk
mount -t ext4 /dev/vda2 /root
umount /proc
exec switch_root /root /sbin/init
`;

/** The first process from the disk's own root: the host tells it its mark as the machine's serial number. */
export const rootInit = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
read mark < /sys/class/dmi/id/product_serial
echo "${guestLines.found} $(cat /marks/* 2>/dev/null | tr '\\n' '+')none"
echo "$mark" > "/marks/$mark"
sync
echo "${guestLines.wrote} $mark"
while read line; do
  [ "$line" = ${guestLines.powerOff} ] && break
done
mount -o remount,ro /
poweroff -f
`;

/** A panic ends the machine: QEMU is told not to reboot. */
export const syslinuxConfiguration = `SERIAL 0 115200
DEFAULT linux
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd.gz
  APPEND console=ttyS0 quiet panic=-1
`;
