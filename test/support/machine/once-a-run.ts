import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../../lib/errno';
import { pathExists } from '../../../lib/files';
import { waitFor } from '../../../worker/stack/wait';

const MAKING_MS = 180_000;

/**
 * A directory that all test files of a run have together, such as a database's tables that each copies; the first one makes it, and the others wait.
 * @returns its path; outside a run one is made in `alone`.
 */
export async function onceARun(
  name: string,
  { make, alone }: { make: (directory: string) => Promise<void>; alone: string },
): Promise<string> {
  const shared = process.env['IVC_TEST_DIRECTORY'];
  const directory = join(shared ?? alone, name);
  const making = `${directory}.making`;
  const { failure } = await waitFor(
    async (): Promise<{ failure?: { error: unknown } } | undefined> => {
      if (await pathExists(directory)) return {};
      try {
        await mkdir(making, { mode: 0o700 });
      } catch (error) {
        if (hasCode(error, 'EEXIST')) return undefined;
        throw error;
      }
      try {
        await make(making);
        await rename(making, directory);
        return {};
      } catch (error) {
        await rm(making, { recursive: true });
        return { failure: { error } };
      }
    },
    { what: `${name} to be made once`, deadlineMs: MAKING_MS },
  );
  if (failure !== undefined) throw failure.error;
  return directory;
}
