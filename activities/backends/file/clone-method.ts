import { constants } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import { removeFile, writeNewFile } from './durable';
import { attemptPaths, newAttempt, type Layout } from './layout';
import { hasCode } from '../../../lib/errno';

export type CloneSetting = 'auto' | 'reflink' | 'overlay';
export interface CloneMethod {
  method: 'reflink' | 'overlay';
  /** Why it is not the fastest; undefined when it is. */
  reason?: string;
}

const PROBE_BYTES = 4096;

/** Chooses by what the file system can do, tried on a file of our own. @throws InvalidRequest when reflinks are demanded and there are none. */
export async function chooseCloneMethod(layout: Layout, setting: CloneSetting): Promise<CloneMethod> {
  if (setting === 'overlay') return { method: 'overlay', reason: 'overlays are chosen in the configuration' };
  const obstacle = await findReflinkObstacle(layout);
  if (obstacle === undefined) return { method: 'reflink' };
  const reason = `the file system has no reflinks (${obstacle})`;
  if (setting === 'auto') return { method: 'overlay', reason };
  throw new Failure('InvalidRequest', { field: 'clone', value: setting, allowed: `auto or overlay: ${reason}` });
}

/** @returns the error's code, or undefined when a reflink from `images/` to `volumes/` works. */
async function findReflinkObstacle(layout: Layout): Promise<string | undefined> {
  const attempt = newAttempt();
  const source = attemptPaths(layout, { kind: 'image-volume', name: 'probe', attempt }).data;
  const target = attemptPaths(layout, { kind: 'volume', name: PROBE_VOLUME, attempt }).data;
  try {
    await writeNewFile(source, {
      writes: [{ position: 0, bytes: Buffer.alloc(PROBE_BYTES, 1) }],
      fileBytes: PROBE_BYTES,
    });
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return undefined;
  } catch (error) {
    const code = reflinkObstacleOf(error);
    if (code === undefined) throw error;
    return code;
  } finally {
    await Promise.all([removeFile(source), removeFile(target)]);
  }
}

/** A volume id that nobody has, so that a probe that was killed is an attempt like others. */
const PROBE_VOLUME = '00000000-0000-0000-0000-000000000000';

/** @returns the code of an error that tells that the file system has no reflinks, or not between these files. */
export function reflinkObstacleOf(error: unknown): string | undefined {
  return NO_REFLINK_CODES.find((code) => hasCode(error, code));
}
const NO_REFLINK_CODES = ['ENOTSUP', 'EOPNOTSUPP', 'ENOTTY', 'EXDEV', 'EINVAL', 'ENOSYS'];
