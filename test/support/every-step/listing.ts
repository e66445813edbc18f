import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unlessAbsent } from '../../../lib/errno';

/** Content of a backend, by the names that the rows have for it: the ids of volumes and snapshots. */
export interface BackendListing {
  volumes(): Promise<string[]>;
  snapshots(): Promise<string[]>;
  imageVolumes(): Promise<string[]>;
  /** @returns what is left of snapshots of that volume, half-made ones too. */
  snapshotsOf(volumeId: string): Promise<string[]>;
  /** @returns what was begun and not finished. */
  unfinished(): Promise<string[]>;
}

export function listDirectory(directory: string): BackendListing {
  const finished = async (folder: string): Promise<string[]> => {
    const names = await readdir(join(directory, folder));
    return [...new Set(names.map((name) => name.replace(/^([^.]+)\.(?:raw|qcow2|json)$/, '$1')))];
  };
  return {
    volumes: () => finished('volumes'),
    snapshots: () => finished('snapshots'),
    imageVolumes: () => finished('images'),
    snapshotsOf: async (volumeId) => {
      const found: string[] = [];
      for (const folder of ['snapshots', 'partial-snapshots']) {
        const path = join(directory, folder);
        for (const name of (await readdir(path)).filter((file) => file.includes('.json')))
          if ((await unlessAbsent(readFile(join(path, name), 'utf8')))?.includes(volumeId)) found.push(name);
      }
      return found;
    },
    unfinished: async () => {
      const found: string[] = [];
      for (const folder of ['volumes', 'snapshots', 'images']) {
        found.push(...(await readdir(join(directory, folder))).filter((name) => name.endsWith('.partial')));
        found.push(...(await readdir(join(directory, `partial-${folder}`))));
      }
      return found;
    },
  };
}
