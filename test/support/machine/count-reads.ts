import fs from 'node:fs/promises';

export interface Reads {
  /** Names that listings of directories have told. */
  names: number;
  /** Files that were opened. */
  opened: number;
}

/** @returns what `work` reads of the file system by Node's own calls, which do all that they did. */
export async function countReads(work: () => Promise<unknown>): Promise<Reads> {
  const reads: Reads = { names: 0, opened: 0 };
  const { readdir, open, opendir } = fs;
  const spies = [
    jest.spyOn(fs, 'readdir').mockImplementation(async (...args: Parameters<typeof readdir>) => {
      const names = await readdir(...args);
      reads.names += names.length;
      return names;
    }),
    jest.spyOn(fs, 'opendir').mockImplementation(async (path, options) => {
      reads.names += (await readdir(path)).length;
      return await opendir(path, options);
    }),
    jest.spyOn(fs, 'open').mockImplementation(async (...args) => {
      reads.opened += 1;
      return await open(...args);
    }),
  ];
  try {
    await work();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return reads;
}
