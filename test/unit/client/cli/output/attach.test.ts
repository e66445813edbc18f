import { libvirtDisk, qemuBlockdev, qemuDrive } from '../../../../../client/cli/output/attach';
import type { Connection } from '../../../../../workflows/contract/volume';

const file: Connection = { driver: 'file', path: '/srv/a,b.qcow2', format: 'qcow2' };
const rbd: Connection = {
  driver: 'rbd',
  pool: 'volumes',
  namespace: 'ns',
  image: 'volume-1',
  format: 'raw',
  user: 'cinder',
  conf: '/etc/ceph/ceph.conf',
  monitors: ['192.0.2.1:6789', '[2001:db8::1]:3300'],
};

it('writes QEMU’s -drive, with a comma in a value doubled', () => {
  expect(qemuDrive(file)).toBe('-drive file=/srv/a,,b.qcow2,format=qcow2,if=virtio');
  expect(qemuDrive(rbd)).toBe(
    '-drive file=rbd:volumes/ns/volume-1:id=cinder:conf=/etc/ceph/ceph.conf,format=raw,if=virtio',
  );
});

it('writes QEMU’s -blockdev', () => {
  expect(qemuBlockdev(file)).toBe(
    '-blockdev driver=qcow2,file.driver=file,file.filename=/srv/a,,b.qcow2,node-name=volume',
  );
  expect(qemuBlockdev(rbd)).toBe(
    '-blockdev driver=rbd,pool=volumes,namespace=ns,image=volume-1,user=cinder,conf=/etc/ceph/ceph.conf,node-name=volume',
  );
});

it('writes libvirt’s disk, with the monitors and the secret of RBD', () => {
  expect(libvirtDisk(rbd)).toBe(`<disk type='network' device='disk'>
  <driver name='qemu' type='raw' discard='unmap'/>
  <source protocol='rbd' name='volumes/ns/volume-1'>
    <host name='192.0.2.1' port='6789'/>
    <host name='2001:db8::1' port='3300'/>
    <auth username='cinder'><secret type='ceph' usage='client.cinder secret'/></auth>
  </source>
  <target dev='vda' bus='virtio'/>
</disk>`);
  expect(libvirtDisk({ ...file, path: "/srv/a'<b" })).toContain("<source file='/srv/a&apos;&lt;b'/>");
});
