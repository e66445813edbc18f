import { constants } from 'node:os';
import { CephError } from './ceph-error';
import { idObjectOf } from './cluster';
import type { Handle, loadLibraries } from './bindings';

type Library = ReturnType<typeof loadLibraries>;

const { ESTALE } = constants.errno;
/** The image as it is now. Source: CEPH_NOSNAP. */
const NO_SNAPSHOT = 0xff_ff_ff_ff_ff_ff_ff_fen;
/** In an object map. Source: librbd, OBJECT_NONEXISTENT. */
const NO_OBJECT = 0;
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
 * Makes a snapshot as librbd does, with a number that is there already: first the header's record, then the snapshot's
 * object map, a copy of the image's. The lock shuts out whoever may still write. The image must be one that nobody else
 * has open: nobody is told. Source: librbd, operation/SnapshotCreateRequest, object_map/SnapshotCreateRequest; cls_rbd.
 * @returns false where the image has a snapshot with a later number. @throws CephError `exists`.
 */
export async function addSnapshot(
  library: Library,
  { io, image }: { io: Handle; image: Handle },
  { name, id }: { name: string; id: bigint },
): Promise<boolean> {
  const { calls, plain } = library;
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
    await execute(library, {
      io,
      object: `rbd_header.${imageId}`,
      method: 'snapshot_add',
      input: encodeSnapshot(name, id),
    });
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
  await execute(library, { io, object: map, method: 'object_map_snap_add', input: Buffer.alloc(0) });
  return true;
}

/**
 * Grows an image that nobody has open, and sets its metadata last: some five steps, where librbd takes some twenty to
 * open the image, watch and lock it, and close it. Idempotent; one that is larger stays so. The image must have an
 * object map. Source: librbd, operation/ResizeRequest, Operations::execute_metadata_set; cls_rbd.
 */
export async function completeUnopened(
  library: Library,
  io: Handle,
  { name, sizeBytes, metadata }: { name: string; sizeBytes: number; metadata: Record<string, string> },
): Promise<void> {
  const id = Buffer.alloc(4 + IMAGE_ID_BYTES);
  await library.calls.readObject(io, idObjectOf(name), id, id.length, 0);
  const imageId = id.toString('utf8', 4, 4 + id.readUInt32LE(0));
  const object = `rbd_header.${imageId}`;
  const found = await execute(library, { io, object, method: 'get_size', input: encodeLong(NO_SNAPSHOT) });
  const objectBytes = 2n ** BigInt(found.readUInt8(0));
  const size = BigInt(sizeBytes);
  if (found.readBigUInt64LE(1) < size) {
    // The map first: one that is larger than its image is made smaller when that is opened.
    const input = Buffer.concat([encodeLong((size + objectBytes - 1n) / objectBytes), Buffer.from([NO_OBJECT])]);
    await execute(library, { io, object: `rbd_object_map.${imageId}`, method: 'object_map_resize', input });
    await execute(library, { io, object, method: 'set_size', input: encodeLong(size) });
  }
  const pairs = Object.entries(metadata);
  if (pairs.length === 0) return;
  const input = Buffer.concat([encodeNumber(pairs.length), ...pairs.flat().map(encodeText)]);
  await execute(library, { io, object, method: 'metadata_set', input });
}

/** Calls a method of the OSDs' class `rbd`. @returns its answer, of at most 64 bytes. */
async function execute(
  { calls }: Library,
  { io, object, method, input }: { io: Handle; object: string; method: string; input: Buffer },
): Promise<Buffer> {
  const output = Buffer.alloc(64);
  const length = await calls.execute(io, object, 'rbd', method, input, input.length, output, output.length);
  return output.subarray(0, length);
}

/** Without a namespace it is a user's snapshot. */
function encodeSnapshot(name: string, id: bigint): Buffer {
  return Buffer.concat([encodeText(name), encodeLong(id)]);
}

/** As Ceph encodes them. */
function encodeText(text: string): Buffer {
  return Buffer.concat([encodeNumber(Buffer.byteLength(text)), Buffer.from(text)]);
}
function encodeNumber(value: number): Buffer {
  const encoded = Buffer.alloc(4);
  encoded.writeUInt32LE(value, 0);
  return encoded;
}
function encodeLong(value: bigint): Buffer {
  const encoded = Buffer.alloc(8);
  encoded.writeBigUInt64LE(value, 0);
  return encoded;
}
