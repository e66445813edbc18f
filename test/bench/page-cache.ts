import { readFileSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { GiB, KiB, MiB } from '../../workflows/contract/bytes';

/** Memory that Linux keeps free in any case, so that no read can fill it. */
const LEFT_FREE_BYTES = GiB;
const READ_BYTES = 8 * MiB;
/** Meanwhile others give memory back, some of them all the time. */
const MOST_PASSES = 2;

export interface PageCache {
  /** Leaves next to no memory free. */
  fill(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Memory as on a host that has run for a while: all of it has been touched, and what is free holds what was read last. Elsewhere the first touch of a page
 * that a hypervisor has yet to give may take longer than everything that is measured, and hits whichever of two contestants comes first.
 * @param directory of a sparse file, which takes no room.
 */
export async function createPageCache(directory: string): Promise<PageCache> {
  const path = join(directory, 'page-cache');
  const file = await open(path, 'wx+');
  // It is gone with this process, whatever happens.
  await unlink(path);
  const buffer = Buffer.alloc(READ_BYTES);
  let read = 0;
  return {
    async fill() {
      for (let pass = 0; pass < MOST_PASSES && freeBytes() > LEFT_FREE_BYTES; pass += 1) {
        const end = read + freeBytes() - LEFT_FREE_BYTES;
        await file.truncate(end);
        for (; read < end; read += READ_BYTES) await file.read(buffer, 0, READ_BYTES, read);
      }
    },
    close: () => file.close(),
  };
}

function freeBytes(): number {
  const [, kib] = /^MemFree:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? [];
  return Number(kib) * KiB;
}
