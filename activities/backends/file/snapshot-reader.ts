import { open, type FileHandle } from 'node:fs/promises';
import { settleAll } from '../../../lib/settle-all';
import { GiB } from '../../../workflows/contract/bytes';
import { mapData, type DataExtent, type QemuDisk } from '../../image/qemu-img';
import type { SnapshotReader, SnapshotRef } from '../backend';
import { joinNeighbours, type Extent } from '../extents';
import type { FileBackendContext } from './context';
import { withFailures } from './errors';
import { imagePaths } from './layout';
import { expectSnapshot } from './volume-snapshot';

/** Of the guest's disk, mapped at once: the kept part of a map does not grow with the disk. */
const WINDOW_BYTES = GiB;
/** For reads that are ahead of each other. */
const WINDOWS_KEPT = 2;

/** See `VolumeBackend.openSnapshotReader`. Where the bytes of an overlay lie, in its file or in its parent's, `qemu-img map` tells. */
export async function openSnapshotReader(
  context: FileBackendContext,
  { snapshotId }: Pick<SnapshotRef, 'snapshotId'>,
): Promise<SnapshotReader> {
  const { file, sizeBytes, parent } = await expectSnapshot(context, snapshotId);
  const disk: QemuDisk = {
    path: file.path,
    format: file.format,
    ...(parent !== undefined && { parent: imagePaths(context.layout, parent).data }),
  };
  const files: FileHandle[] = [];
  const windows = new Map<number, Promise<DataExtent[]>>();
  const mapOf = async (window: number): Promise<DataExtent[]> => {
    const offset = window * WINDOW_BYTES;
    const lengthBytes = Math.min(WINDOW_BYTES, sizeBytes - offset);
    const asked = windows.get(window) ?? mapData(disk, { offset, lengthBytes });
    windows.delete(window);
    windows.set(window, asked);
    asked.catch(() => windows.delete(window));
    for (const oldest of windows.keys()) if (windows.size > WINDOWS_KEPT) windows.delete(oldest);
    return await asked;
  };
  const close = async (): Promise<void> => await settleAll(files.map((opened) => opened.close()));

  async function* mapped(): AsyncGenerator<Extent> {
    for (let window = 0; window * WINDOW_BYTES < sizeBytes; window += 1)
      for (const { start, length } of await withFailures(context, 0, () => mapOf(window)))
        yield { offset: start, lengthBytes: length };
  }

  const read = async (offset: number, lengthBytes: number): Promise<Buffer> => {
    const end = Math.min(sizeBytes, offset + lengthBytes);
    const bytes = Buffer.alloc(Math.max(0, end - offset));
    for (let window = Math.floor(offset / WINDOW_BYTES); window * WINDOW_BYTES < end; window += 1)
      for (const extent of await mapOf(window)) {
        const from = Math.max(offset, extent.start);
        const to = Math.min(end, extent.start + extent.length);
        if (from < to)
          await readExactly(
            files[extent.depth],
            bytes.subarray(from - offset, to - offset),
            extent.offset + from - extent.start,
          );
      }
    return bytes;
  };

  try {
    for (const path of [disk.path, ...(disk.parent === undefined ? [] : [disk.parent])]) files.push(await open(path));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    sizeBytes,
    extents: () => joinNeighbours(mapped()),
    read: async (offset, lengthBytes) => await withFailures(context, 0, () => read(offset, lengthBytes)),
    close,
  };
}

/** Bytes behind the end of a file read as zeros. */
async function readExactly(file: FileHandle | undefined, bytes: Buffer, position: number): Promise<void> {
  if (file === undefined) throw new Error('the disk has data below its parent');
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) return;
    done += bytesRead;
  }
}
