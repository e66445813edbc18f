import type { FileHandle } from 'node:fs/promises';
import { MiB } from '../../workflows/contract/bytes';

/** Starts the disk's work on what was written to a file while more comes. It promises nothing: the fsync at the end does. */
export interface WriteBack {
  /** Counts what was written. */
  advance(bytes: number): void;
  /** Waits until no sync runs, so that the handle may be closed. @throws what a sync threw: the kernel tells of a lost write once. */
  settle(): Promise<void>;
}

/** Bytes between two syncs: each also waits for the file system's journal. */
const SYNC_EVERY_BYTES = 64 * MiB;

export function createWriteBack(handle: FileHandle): WriteBack {
  let unsynced = 0;
  let failure: { error: unknown } | undefined;
  let running: Promise<void> | undefined;
  const sync = async (): Promise<void> => {
    try {
      await handle.datasync();
    } catch (error) {
      failure ??= { error };
    }
    running = undefined;
  };
  return {
    advance(bytes) {
      unsynced += bytes;
      if (unsynced < SYNC_EVERY_BYTES || running !== undefined) return;
      unsynced = 0;
      running = sync();
    },
    async settle() {
      await running;
      if (failure !== undefined) throw failure.error;
    },
  };
}
