import { createHash, randomBytes } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MiB } from '../../../workflows/contract/bytes';
import { partPath } from './catalog';
import { findVirtualSize, VIRTUAL_SIZE_HEAD_BYTES } from './virtual-size';
import { syncPath } from '../../../lib/files';

/** Bytes gathered before one write. */
const WRITE_BYTES = MiB;
/** Buffers of one `writev`, well below IOV_MAX. */
const WRITE_CHUNKS = 256;

export interface ReceivedFile {
  size: number;
  virtual_size: number | null;
  checksum: string;
  os_hash_algo: 'sha512';
  os_hash_value: string;
}

/**
 * Streams `body` to `path`, hashed while it comes, durable before it has its name; nothing is left when the body is
 * cut.
 */
export async function receiveFile(
  path: string,
  body: AsyncIterable<Buffer>,
  diskFormat: string | null,
): Promise<ReceivedFile> {
  const part = partPath(path, randomBytes(6).toString('hex'));
  const handle = await open(part, 'wx', 0o600);
  try {
    const received = await write(handle, body);
    await handle.sync();
    await handle.close();
    await rename(part, path);
    await syncPath(dirname(path));
    const { head, ...file } = received;
    return { ...file, virtual_size: findVirtualSize(diskFormat, { head, sizeBytes: file.size }) };
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(part, { force: true });
    throw error;
  }
}

async function write(
  handle: FileHandle,
  body: AsyncIterable<Buffer>,
): Promise<Omit<ReceivedFile, 'virtual_size'> & { head: Buffer }> {
  const md5 = createHash('md5');
  const sha512 = createHash('sha512');
  let head = Buffer.alloc(0);
  let size = 0;
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  const flush = async (): Promise<void> => {
    if (gatheredBytes === 0) return;
    const { bytesWritten } = await handle.writev(gathered);
    if (bytesWritten !== gatheredBytes) throw Object.assign(new Error('short write'), { code: 'ENOSPC' });
    gathered = [];
    gatheredBytes = 0;
  };
  for await (const chunk of body) {
    md5.update(chunk);
    sha512.update(chunk);
    if (head.length < VIRTUAL_SIZE_HEAD_BYTES) head = Buffer.concat([head, chunk.subarray(0, VIRTUAL_SIZE_HEAD_BYTES)]);
    size += chunk.length;
    gathered.push(chunk);
    gatheredBytes += chunk.length;
    if (gatheredBytes >= WRITE_BYTES || gathered.length >= WRITE_CHUNKS) await flush();
  }
  await flush();
  return { size, head, checksum: md5.digest('hex'), os_hash_algo: 'sha512', os_hash_value: sha512.digest('hex') };
}
