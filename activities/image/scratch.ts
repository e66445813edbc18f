import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../workflows/contract/failures';
import type { HostId } from '../../workflows/contract/ids';
import type { ProgressReporter } from '../progress';
import type { DownloadedImage } from './download';
import { readHostId } from './host-id';
import { createSharedTransfers } from './shared-transfers';
import { acquireProcessLock, describeHolder } from '../process-lock';
import { isDiskFull, unlessAbsent } from '../../lib/errno';
import { fileSystemSpace, STAT_BLOCK_BYTES } from '../../lib/files';

/** A worker host's directory of downloaded images, by content hash. One worker holds it; users of a file are counted by rows, not here. */
export interface Scratch {
  readonly hostId: HostId;
  readonly directory: string;
  /** Where the complete file of a content hash is, once it is there. @throws Error for what is no content hash. */
  pathOf(contentHash: string): string;
  /** @returns the complete, verified file. */
  find(contentHash: string): Promise<ScratchFile | undefined>;
  /**
   * Makes the complete file exist: verified by this process. One transfer a content hash runs at a time; a second caller shares it, and it is aborted when all its callers are.
   * Its progress goes to all of them. Idempotent. Undo: `remove`.
   * @throws ScratchFull (retried); what `transfer` throws, to all callers; a caller's own abort as its reason.
   */
  ensure(contentHash: string, request: EnsureRequest): Promise<EnsuredFile>;
  /** Deletes a file, complete or partial, after aborting its transfer; the absent is done. */
  remove(contentHash: string): Promise<void>;
  list(): Promise<ScratchEntry[]>;
  /** Bytes that an unprivileged process may still write. */
  freeBytes(): Promise<number>;
  /** Bytes that its files may have together: theirs and the free ones. Nobody who may not write to the end should begin. */
  capacityBytes(): Promise<number>;
  /** Bytes that it could hold if it were empty: the free ones, and those that its files take up on the disk; a hole takes up nothing. */
  mostBytes(): Promise<number>;
  /** Gives the scratch back to other workers. */
  close(): Promise<void>;
}

export interface ScratchFile {
  path: string;
  bytes: number;
}

export interface ScratchEntry extends ScratchFile {
  contentHash: string;
  /** Bytes that it takes up on the disk. */
  bytesOnDisk: number;
  complete: boolean;
  modifiedAt: Date;
}

export interface EnsureRequest {
  sizeBytes: number;
  reporter: ProgressReporter;
  /** Fills `partialPath` from where it ends, and verifies it. */
  transfer: (partialPath: string, reporter: ProgressReporter) => Promise<DownloadedImage>;
}

export interface EnsuredFile extends ScratchFile {
  /** `present`: it was complete; `shared`: another caller's transfer brought it. */
  outcome: 'present' | 'transferred' | 'shared';
  /** Bytes read from the image service on behalf of this caller: 0 unless `transferred`. */
  bytesDownloaded: number;
  seconds: number;
}

const PARTIAL = '.partial';
/** A file's name has at most 255 bytes; `sha512-` and its hex are 135. */
const contentHashPattern = /^[a-z0-9][a-z0-9_-]{0,199}$/;

/** Opens `directory` for this process alone, made when absent. @throws Error when another running process holds it. */
export async function openScratch({ directory }: { directory: string }): Promise<Scratch> {
  const hostId = await readHostId(directory);
  const images = join(directory, 'images');
  await mkdir(images, { recursive: true, mode: 0o700 });
  const release = await lockScratch(join(directory, 'lock'));
  const assertMounted = await watchMount(directory, hostId);
  await distrustFiles(images);
  const transfers = createSharedTransfers();
  const pathOf = (contentHash: string): string => {
    if (!contentHashPattern.test(contentHash))
      throw new Error(`contentHash: got ${contentHash}, allowed is ${String(contentHashPattern)}`);
    return join(images, contentHash);
  };
  const find = (contentHash: string) => findFile(pathOf(contentHash));
  const freeBytes = async () => (await fileSystemSpace(images)).freeBytes;
  const measure = async (bytesOf: (file: ScratchEntry) => number) => {
    await assertMounted();
    // Somebody may have emptied the scratch since it was opened.
    await mkdir(images, { recursive: true, mode: 0o700 });
    const freeBefore = await freeBytes();
    const files = await listFiles(images);
    const held = files.reduce((total, file) => total + bytesOf(file), 0);
    return { freeBefore, held, freeAfter: await freeBytes() };
  };

  return {
    hostId,
    directory,
    pathOf,
    find,
    freeBytes,
    // Bytes written or removed meanwhile are counted once at most: a budget is never too large.
    capacityBytes: async () => {
      const { freeBefore, held, freeAfter } = await measure(({ bytes }) => bytes);
      return held + Math.min(freeBefore, freeAfter);
    },
    // Bytes written or removed meanwhile are counted once at least: nothing is too small for good that fits.
    mostBytes: async () => {
      const { freeBefore, held, freeAfter } = await measure(({ bytesOnDisk }) => bytesOnDisk);
      return held + Math.max(freeBefore, freeAfter);
    },
    async ensure(contentHash, { sizeBytes, reporter, transfer }) {
      const path = pathOf(contentHash);
      const present = await find(contentHash);
      if (present !== undefined) return { ...present, outcome: 'present', bytesDownloaded: 0, seconds: 0 };
      const { result, shared } = await transfers.join(contentHash, reporter, async (joined) => {
        // Another transfer may have ended between the look above and this one.
        const file = await findFile(path);
        if (file !== undefined) return { bytes: file.bytes, bytesDownloaded: 0, seconds: 0 };
        await assertMounted();
        try {
          // Somebody may have emptied the scratch since it was opened.
          await mkdir(images, { recursive: true, mode: 0o700 });
          return await publish(path, (partialPath) => transfer(partialPath, joined));
        } catch (error) {
          throw isDiskFull(error)
            ? new Failure(
                'ScratchFull',
                { host: hostId, neededBytes: sizeBytes, freeBytes: await freeBytes() },
                { cause: error },
              )
            : error;
        }
      });
      const { bytes, seconds, bytesDownloaded } = result;
      return {
        path,
        bytes,
        seconds,
        outcome: shared ? 'shared' : 'transferred',
        bytesDownloaded: shared ? 0 : bytesDownloaded,
      };
    },
    async remove(contentHash) {
      const path = pathOf(contentHash);
      await transfers.abort(contentHash);
      await rm(path, { force: true });
      await rm(`${path}${PARTIAL}`, { force: true });
    },
    list: () => listFiles(images),
    async close() {
      await transfers.abortAll();
      release();
    },
  };
}

/** @returns what gives it back. @throws Error when another running process, in whatever container, holds it. */
async function lockScratch(path: string): Promise<() => void> {
  const lock = await acquireProcessLock(path);
  if (lock.kind === 'acquired') return lock.release;
  throw new Error(`scratch.directory: ${path} is held by ${describeHolder(lock.by)}; a scratch has one worker`);
}

/** @returns what throws ScratchUnavailable while another file system is where the scratch was opened: below a mount that went away there is a directory too. */
async function watchMount(directory: string, host: HostId): Promise<() => Promise<void>> {
  const { dev } = await stat(directory);
  return async () => {
    const found = await unlessAbsent(stat(directory));
    if (found !== undefined && found.dev !== dev)
      throw new Failure('ScratchUnavailable', {
        host,
        cause: `${directory} is on another file system: is it mounted?`,
      });
  };
}

async function publish(
  path: string,
  transfer: (partialPath: string) => Promise<DownloadedImage>,
): Promise<DownloadedImage> {
  const partialPath = `${path}${PARTIAL}`;
  const downloaded = await transfer(partialPath);
  await rename(partialPath, path);
  return downloaded;
}

/**
 * Nothing in a scratch is fsynced: it would cost every population more than it ever saves. So a file that an earlier process verified may have lost
 * bytes with the machine's power since; it counts as partial again, and is read and hashed before its next use.
 */
async function distrustFiles(images: string): Promise<void> {
  for (const { path, complete } of await listFiles(images)) if (complete) await rename(path, `${path}${PARTIAL}`);
}

async function findFile(path: string): Promise<ScratchFile | undefined> {
  const found = await unlessAbsent(stat(path));
  return found && { path, bytes: found.size };
}

async function listFiles(images: string): Promise<ScratchEntry[]> {
  const entries: ScratchEntry[] = [];
  // Somebody may have removed the directory.
  const names = (await unlessAbsent(readdir(images))) ?? [];
  for (const name of names.sort()) {
    const path = join(images, name);
    const complete = !name.endsWith(PARTIAL);
    const contentHash = complete ? name : name.slice(0, -PARTIAL.length);
    const found = await stat(path).catch(() => undefined);
    if (found?.isFile() && contentHashPattern.test(contentHash))
      entries.push({
        contentHash,
        path,
        complete,
        bytes: found.size,
        bytesOnDisk: found.blocks * STAT_BLOCK_BYTES,
        modifiedAt: found.mtime,
      });
  }
  return entries;
}
