import { open, type FileHandle } from 'node:fs/promises';
import { Failure } from '../workflows/contract/failures';

export interface HandedFile {
  path: string;
  /** Default: it is read only. */
  writable?: boolean;
}

/** Open files for `runCommand`, and the names by which the tool opens them. */
export interface HandedOver {
  descriptors: number[];
  names: string[];
}

/** A child's descriptors begin after stdin, stdout and stderr. */
const FIRST_DESCRIPTOR = 3;
const GROUP_READ = 0o040;
const GROUP_WRITE = 0o020;

/**
 * Lets a tool that runs as user and group `groupId` open files in directories that are closed to it: they are opened
 * here and inherited, and their group may use them meanwhile. Owner, group and mode are afterwards what they were.
 * Linux checks only the file's own mode when a descriptor is opened again through `/proc`. Undefined `groupId`: the
 * tool runs as this process, and nothing is changed.
 * @throws ToolFailed when the file system does not let it be handed over.
 */
export async function withHandedOver<Result>(
  files: readonly HandedFile[],
  groupId: number | undefined,
  work: (handed: HandedOver) => Promise<Result>,
): Promise<Result> {
  const opened: { file: HandedFile; handle: FileHandle }[] = [];
  const given: FileHandle[] = [];
  try {
    for (const file of files) opened.push({ file, handle: await open(file.path, file.writable ? 'r+' : 'r') });
    if (groupId !== undefined) {
      for (const { file, handle } of opened) {
        await inTurn(() => giveToGroup(handle, { groupId, writable: file.writable === true }));
        given.push(handle);
      }
    }
    return await work({
      descriptors: opened.map(({ handle }) => handle.fd),
      names: opened.map((_, index) => `/proc/self/fd/${FIRST_DESCRIPTOR + index}`),
    });
  } finally {
    for (const handle of given) await inTurn(() => takeFromGroup(handle));
    for (const { handle } of opened) await handle.close();
  }
}

interface Holders {
  count: number;
  groupId: number;
  mode: number;
}
/** Several conversions may read one scratch file: the last one gives it back. By device and inode. */
const holders = new Map<string, Holders>();
/** Giving and taking back are short, and never in the middle of each other. */
let last: Promise<unknown> = Promise.resolve();

function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  const turn = last.then(work, work);
  last = turn.catch(() => undefined);
  return turn;
}

async function giveToGroup(
  handle: FileHandle,
  { groupId, writable }: { groupId: number; writable: boolean },
): Promise<void> {
  const { dev, ino, uid, gid, mode } = await handle.stat();
  const key = `${dev}:${ino}`;
  const held = holders.get(key) ?? asFound({ gid, mode: mode & 0o7777 }, groupId);
  try {
    await handle.chown(uid, groupId);
    await handle.chmod((mode & 0o7777) | GROUP_READ | (writable ? GROUP_WRITE : 0));
  } catch (cause) {
    if (held.count === 0) await handle.chown(uid, gid).catch(() => undefined);
    const stderr = `a file could not be handed over to group ${groupId}; set tools.user: none to avoid it`;
    throw new Failure('ToolFailed', { tool: 'qemu-img', exit: 'not started', stderr }, { cause });
  }
  held.count += 1;
  holders.set(key, held);
}

/** A file that has the tool's group already was left so by a worker that was killed. */
function asFound({ gid, mode }: { gid: number; mode: number }, groupId: number): Holders {
  if (gid !== groupId) return { count: 0, groupId: gid, mode };
  return { count: 0, groupId: process.getegid?.() ?? gid, mode: mode & ~0o070 };
}

async function takeFromGroup(handle: FileHandle): Promise<void> {
  const { dev, ino, uid } = await handle.stat();
  const key = `${dev}:${ino}`;
  const held = holders.get(key);
  if (held === undefined) return;
  held.count -= 1;
  if (held.count > 0) return;
  holders.delete(key);
  await handle.chmod(held.mode);
  await handle.chown(uid, held.groupId);
}
