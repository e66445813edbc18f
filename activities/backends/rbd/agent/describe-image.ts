import { unlessAbsent } from '../../../../lib/errno';
import { listAll, type Handle } from '../bindings';
import type { RbdImage } from '../cluster';
import { parentOf } from './linked-images';
import { withImage } from './image-handles';
import { calls, plain } from './session';

const MAX_METADATA_BYTES = 64 * 1024;

async function getMetadata(image: Handle, key: string): Promise<string | undefined> {
  const value = Buffer.alloc(MAX_METADATA_BYTES);
  const found = await unlessAbsent(calls.getMetadata(image, key, value, [value.length]));
  return found === undefined ? undefined : value.toString('utf8', 0, value.indexOf(0));
}

export async function imageSizeOf(image: Handle): Promise<number> {
  const size: [number | bigint] = [0];
  await calls.size(image, size);
  return Number(size[0]);
}

export async function snapshotNames(image: Handle): Promise<string[]> {
  const found = await listAll<{ name: string }>('rbd_snap_info_t', {
    fill: (array, count) => calls.listSnapshots(image, array, count),
    // This one answers the count itself.
    countOf: (count) => count,
    clean: (array) => plain.cleanSnapshots(array),
  });
  return found.map(({ name }) => name);
}

export async function isProtected(image: Handle, snapshot: string): Promise<boolean> {
  const found: [number] = [0];
  await calls.isProtected(image, snapshot, found);
  return found[0] === 1;
}

export async function describeImage(name: string, metadataKeys: readonly string[]): Promise<RbdImage | undefined> {
  const describe = async (image: Handle): Promise<RbdImage> => {
    const time = {} as { tv_sec: number | bigint };
    await calls.modified(image, time);
    const metadata: RbdImage['metadata'] = {};
    for (const key of metadataKeys) metadata[key] = await getMetadata(image, key);
    const parent = await parentOf(image);
    return {
      sizeBytes: await imageSizeOf(image),
      modifiedAt: new Date(Number(time.tv_sec) * 1000),
      snapshots: await snapshotNames(image),
      metadata,
      ...(parent !== undefined && { parent }),
    };
  };
  return await unlessAbsent(withImage(name, { writable: false }, describe));
}
