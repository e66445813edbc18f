import { constants } from 'node:os';
import { CephError } from './ceph-error';
import type { Handle, loadLibraries } from './bindings';

type Library = ReturnType<typeof loadLibraries>;

const { ESTALE } = constants.errno;
const LOCK_EXCLUSIVE = 0;
/** Longer than any. Source: librbd, `RBD_MAX_IMAGE_ID_LENGTH`. */
const IMAGE_ID_BYTES = 64;

/** @returns the number of a snapshot that nothing has yet; the monitors give it out with their next map, up to a second later. */
export async function allocateSnapshot({ calls }: Library, io: Handle): Promise<bigint> {
  const id: [number | bigint] = [0];
  await calls.allocateSnapshot(io, id);
  return BigInt(id[0]);
}

/**
 * What librbd does for a snapshot, with a number that is there already: first the header's record, then the snapshot's
 * object map, a copy of the image's. The lock shuts out whoever may still write. The image must be one that nobody else
 * has open: nobody is told. Source: librbd, operation/SnapshotCreateRequest, object_map/SnapshotCreateRequest; cls_rbd.
 * @returns false where the image has a snapshot with a later number. @throws CephError `exists`.
 */
export async function addSnapshot(
  { calls, plain }: Library,
  { io, image }: { io: Handle; image: Handle },
  { name, id }: { name: string; id: bigint },
): Promise<boolean> {
  /** A method of the OSDs' class `rbd`. */
  const execute = async (object: string, method: string, input: Buffer): Promise<void> => {
    const output = Buffer.alloc(1);
    await calls.execute(io, object, 'rbd', method, input, input.length, output, output.length);
  };
  const writeObject = async (object: string, bytes: Buffer): Promise<void> => {
    const op = plain.createOp();
    try {
      plain.opWrite(op, bytes, bytes.length);
      await calls.operate(op, io, object, null, 0);
    } finally {
      plain.releaseOp(op);
    }
  };

  await calls.lock(image, LOCK_EXCLUSIVE);
  const text = Buffer.alloc(IMAGE_ID_BYTES);
  await calls.imageId(image, text, text.length);
  const imageId = text.toString('utf8', 0, text.indexOf(0));
  try {
    await execute(`rbd_header.${imageId}`, 'snapshot_add', encodeSnapshot(name, id));
  } catch (error) {
    if (error instanceof CephError && error.errno === ESTALE) return false;
    throw error;
  }
  const map = `rbd_object_map.${imageId}`;
  const size: [number | bigint] = [0];
  await calls.statObject(io, map, size, [0]);
  const bytes = Buffer.alloc(Number(size[0]));
  await calls.readObject(io, map, bytes, bytes.length, 0);
  await writeObject(`${map}.${id.toString(16).padStart(16, '0')}`, bytes);
  await execute(map, 'object_map_snap_add', Buffer.alloc(0));
  return true;
}

/** As Ceph encodes a string and a number; without a namespace it is a user's snapshot. */
function encodeSnapshot(name: string, id: bigint): Buffer {
  const encoded = Buffer.alloc(4 + Buffer.byteLength(name) + 8);
  encoded.writeUInt32LE(Buffer.byteLength(name), 0);
  encoded.write(name, 4);
  encoded.writeBigUInt64LE(id, encoded.length - 8);
  return encoded;
}
