import { deadlinesOf, type RbdPool } from './cluster';

/** How qemu-img names an image: with Ceph's own options, so that it ends where the cluster does not answer. Source: QEMU, block/rbd.c. */
export function qemuName(pool: RbdPool, image: string): string {
  const { pool: poolName, namespace, conf, user, keyring } = pool;
  const path = [poolName, ...(namespace === undefined ? [] : [namespace]), image].map(escape).join('/');
  const options = { id: user, conf, ...(keyring !== undefined && { keyring }), ...deadlinesOf(pool) };
  return `rbd:${path}${Object.entries(options)
    .map(([option, value]) => `:${option}=${escape(value)}`)
    .join('')}`;
}

function escape(text: string): string {
  return text.replaceAll(/[\\:@=/]/g, '\\$&');
}
