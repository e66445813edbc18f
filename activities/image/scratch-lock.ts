import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';

const holderSchema = z.object({ pid: z.int().positive(), startTime: z.string() });
type Holder = z.output<typeof holderSchema>;

export interface ScratchLock {
  release(): Promise<void>;
}

/** Rounds against others who take over the same stale lock. */
const ATTEMPTS = 20;

/** Takes the lock file `path` for this process; a stale one is taken over. @throws Error which names the running holder. */
export async function lockScratch(path: string): Promise<ScratchLock> {
  const own: Holder = { pid: process.pid, startTime: (await findStartTime(process.pid)) ?? '' };
  const candidate = asidePath(path);
  // A hard link makes it appear with its content: nobody reads a half-written lock.
  await writeFile(candidate, JSON.stringify(own), { mode: 0o600, flag: 'wx' });
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (await ensureLink(candidate, path)) return { release: () => release(path, own) };
      const holder = await findHolder(path);
      if (holder !== undefined && (await isRunning(holder)))
        throw new Error(
          `scratch.directory: ${path} is held by the running process ${holder.pid}; a scratch has one worker`,
        );
      await removeStale(path);
    }
  } finally {
    await rm(candidate, { force: true });
  }
  throw new Error(`scratch.directory: ${path} could not be taken in ${ATTEMPTS} attempts`);
}

async function release(path: string, own: Holder): Promise<void> {
  const holder = await findHolder(path);
  if (holder?.pid === own.pid && holder.startTime === own.startTime) await rm(path, { force: true });
}

/** Moves the stale lock away and looks again: another may have taken it since it was read. */
async function removeStale(path: string): Promise<void> {
  const aside = asidePath(path);
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  const holder = await findHolder(aside);
  if (holder !== undefined && (await isRunning(holder))) await ensureLink(aside, path);
  await rm(aside, { force: true });
}

function asidePath(path: string): string {
  return `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
}

async function ensureLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** @returns undefined for a lock that is gone or unreadable. */
async function findHolder(path: string): Promise<Holder | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

async function isRunning({ pid, startTime }: Holder): Promise<boolean> {
  return (await findStartTime(pid)) === startTime;
}

/** Boot id and clock ticks since boot: a later process with the same pid has others. @returns undefined when there is none, or a zombie. */
async function findStartTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // proc(5): the name may hold spaces and parentheses; the state follows its last parenthesis, the start time is field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${fields[19] ?? ''}`;
  } catch {
    return undefined;
  }
}
