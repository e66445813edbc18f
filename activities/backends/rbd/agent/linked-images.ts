import { unlessAbsent } from '../../../../lib/errno';
import { koffi, listAll, type Handle } from '../bindings';
import type { RbdImage } from '../cluster';
import { calls, connection, handle, plain } from './session';

export interface LinkedImage {
  image_id: string;
  pool_name: string;
  pool_namespace: string | null;
  image_name: string;
  trash: boolean;
}

export type LinkedSnapshot = LinkedImage & { snapshot: string; snapshotId: number | bigint };

export async function parentOf(image: Handle): Promise<RbdImage['parent']> {
  const linked = await linkedParentOf(image);
  if (linked === undefined) return undefined;
  const { pool_name, pool_namespace, image_name, trash, snapshot } = linked;
  return { pool: pool_name, namespace: pool_namespace ?? '', image: image_name, snapshot, inTrash: trash };
}

export async function linkedParentOf(image: Handle): Promise<LinkedSnapshot | undefined> {
  const parent = koffi.alloc('rbd_linked_image_spec_t', 1);
  const snapshot = koffi.alloc('rbd_snap_spec_t', 1);
  try {
    if ((await unlessAbsent(calls.parent(image, parent, snapshot))) === undefined) return undefined;
    const linked = koffi.decode(parent, 'rbd_linked_image_spec_t') as LinkedImage;
    const { name, id } = koffi.decode(snapshot, 'rbd_snap_spec_t') as { name: string; id: number | bigint };
    plain.cleanLinked(parent);
    plain.cleanSnapshotSpec(snapshot);
    return { ...linked, snapshot: name, snapshotId: id };
  } finally {
    koffi.free(parent);
    koffi.free(snapshot);
  }
}

/** Opens an image by its id, since it may be in the trash, and in its own pool. */
export async function withLinked<Result>(
  { pool_name, pool_namespace, image_id }: LinkedImage,
  work: (image: Handle) => Promise<Result>,
): Promise<Result> {
  const io = await handle((out) => calls.openPool(connection().cluster, pool_name, out));
  try {
    plain.setNamespace(io, pool_namespace ?? '');
    const image = await handle((out) => calls.openByIdReadOnly(io, image_id, out, null));
    try {
      return await work(image);
    } finally {
      await calls.close(image);
    }
  } finally {
    plain.closePool(io);
  }
}

export async function countClones(image: Handle): Promise<number> {
  const found = await listAll<LinkedImage>('rbd_linked_image_spec_t', {
    fill: (array, count) => calls.children(image, array, count),
    clean: (array, count) => plain.cleanLinkedList(array, count),
  });
  return found.length;
}
