import { exitCodes, ImageVolumeCacheError } from '../errors';
import type { ImageVolumeCache } from '../connection';
import { lazy } from './lazy';
import { note } from './output/print';
import { isForProgram, showList, showRecord } from './output/show';
import type { ProjectOptions } from './project';
import { runVerb, type SharedOptions, type Waiting } from './run-verb';

export interface DeleteEachOptions extends SharedOptions, ProjectOptions {
  ignoreMissing?: boolean;
}

interface Deleting<Result> {
  /** The field of a result that names what it is about. */
  id: keyof Result & string;
  /** @throws ImageVolumeCacheError with exit code 3 for what there is not, and never was. */
  remove: (cache: ImageVolumeCache, called: string, waiting: Waiting) => Promise<Result>;
  /** For what is missing, where that is as well. */
  absent: (called: string) => Result;
  describe: (result: Result) => string;
}

interface Failed {
  called: string;
  error: { type: string; message: string; exitCode: number };
}

/** Deletes one thing, or several at once: then what fails does not hold up the others, and the worst exit code counts. */
export async function deleteEach<Result extends object>(
  called: string[],
  options: DeleteEachOptions,
  { id, remove, absent, describe }: Deleting<Result>,
): Promise<void> {
  const removeOne = async (cache: ImageVolumeCache, one: string, waiting: Waiting): Promise<Result> => {
    try {
      return await remove(cache, one, waiting);
    } catch (error) {
      if (options.ignoreMissing && isMissing(error)) return absent(one);
      throw error;
    }
  };
  const [only] = called;
  if (called.length === 1 && only !== undefined) {
    const show = (result: Result): void => showRecord(result, { id, text: describe }, options);
    return await runVerb(options, (cache, waiting) => removeOne(cache, only, waiting), show);
  }
  await runVerb(
    options,
    async (cache, waiting) => {
      const ended = await Promise.allSettled(called.map((one) => removeOne(cache, one, waiting)));
      const failed: Failed[] = [];
      for (const [at, end] of ended.entries())
        if (end.status === 'rejected')
          failed.push(toFailed(called[at] ?? '', await lazy.known.withKnown(end.reason, { cache, options })));
      return { deleted: ended.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : [])), failed };
    },
    (done) => {
      const text = ({ deleted }: typeof done): string[] => deleted.map(describe);
      showList<Result, typeof done>(done, { list: 'deleted', id, columns: [id, 'outcome'], empty: '', text }, options);
      if (!isForProgram(options)) for (const { error } of done.failed) note(`ivc: ${error.message}`);
      return Math.max(exitCodes.done, ...done.failed.map(({ error }) => error.exitCode));
    },
  );
}

function isMissing(error: unknown): boolean {
  return error instanceof ImageVolumeCacheError && error.exitCode === exitCodes.notFound;
}

/** An unforeseen error ends the command. */
function toFailed(called: string, reason: unknown): Failed {
  if (!(reason instanceof ImageVolumeCacheError)) throw reason;
  const { type, message, exitCode } = reason;
  return { called, error: { type, message, exitCode } };
}
