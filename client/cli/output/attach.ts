import type { Connection } from '../../../workflows/contract/volume';
import { formatConnection } from './format';

/** The arguments of QEMU that attach the volume. */
export function qemuDrive(connection: Connection): string {
  const file =
    connection.driver === 'file'
      ? connection.path
      : `${formatConnection(connection)}:id=${connection.user}:conf=${connection.conf}`;
  return `-drive file=${quote(file)},format=${connection.format},if=virtio`;
}

/** The same as `qemuDrive` for `-blockdev`, and after `--image-opts` without its first word. */
export function qemuBlockdev(connection: Connection): string {
  const options =
    connection.driver === 'file'
      ? { driver: connection.format, 'file.driver': 'file', 'file.filename': connection.path }
      : {
          driver: 'rbd',
          pool: connection.pool,
          ...(connection.namespace !== undefined && { namespace: connection.namespace }),
          image: connection.image,
          user: connection.user,
          conf: connection.conf,
        };
  const pairs = Object.entries({ ...options, 'node-name': 'volume' }).map(([key, value]) => `${key}=${quote(value)}`);
  return `-blockdev ${pairs.join(',')}`;
}

/**
 * The `<disk>` of a libvirt domain. libvirt knows the cephx key by a secret of its own, whose usage is here as Ceph's documentation names it.
 * Source: https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms
 */
export function libvirtDisk(connection: Connection): string {
  const type = connection.driver === 'file' ? 'file' : 'network';
  return [
    `<disk type='${type}' device='disk'>`,
    `  <driver name='qemu' type='${connection.format}' discard='unmap'/>`,
    ...sourceLines(connection).map((line) => `  ${line}`),
    "  <target dev='vda' bus='virtio'/>",
    '</disk>',
  ].join('\n');
}

function sourceLines(connection: Connection): string[] {
  if (connection.driver === 'file') return [`<source file='${escapeXml(connection.path)}'/>`];
  const { pool, namespace, image, user, monitors } = connection;
  const name = [pool, namespace, image].filter((part) => part !== undefined).join('/');
  return [
    `<source protocol='rbd' name='${escapeXml(name)}'>`,
    ...monitors.map((monitor) => {
      const colon = monitor.lastIndexOf(':');
      const host = monitor.slice(0, colon).replaceAll(/[[\]]/g, '');
      return `  <host name='${escapeXml(host)}' port='${escapeXml(monitor.slice(colon + 1))}'/>`;
    }),
    `  <auth username='${escapeXml(user)}'><secret type='ceph' usage='client.${escapeXml(user)} secret'/></auth>`,
    '</source>',
  ];
}

/** A comma within a value is doubled: https://www.qemu.org/docs/master/system/invocation.html */
function quote(value: string): string {
  return value.replaceAll(',', ',,');
}

const xmlEntities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&apos;', '"': '&quot;' };
function escapeXml(text: string): string {
  return text.replaceAll(/[&<>'"]/g, (character) => xmlEntities[character] ?? character);
}
