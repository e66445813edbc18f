// PLACEHOLDER by the lead so that the whole can run once: to be replaced by its owner.
import { randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostId } from '../../workflows/contract/ids';

export interface Scratch {
  readonly hostId: HostId;
  pathOf(contentHash: string): string;
  has(contentHash: string): Promise<boolean>;
  remove(contentHash: string): Promise<void>;
  close(): Promise<void>;
}

export async function readHostId(directory: string): Promise<HostId> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'host-id');
  await writeFile(path, randomUUID(), { flag: 'wx', mode: 0o600 }).catch(() => undefined);
  return (await readFile(path, 'utf8')).trim() as HostId;
}

export async function openScratch({ directory }: { directory: string }): Promise<Scratch> {
  const hostId = await readHostId(directory);
  const pathOf = (contentHash: string): string => join(directory, contentHash);
  return {
    hostId,
    pathOf,
    has: async (contentHash) => access(pathOf(contentHash)).then(() => true, () => false),
    remove: async (contentHash) => rm(pathOf(contentHash), { force: true }),
    close: async () => undefined,
  };
}
