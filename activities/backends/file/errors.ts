import { Failure } from '../../../workflows/contract/failures';
import type { FileBackendContext } from './context';
import { hasCode } from '../../../lib/errno';
import { freeBytesOrZero } from '../../../lib/files';

/** Runs `operation` and turns the file system's errors into the project's failures. `neededBytes`: the bytes that `NoSpace` names. */
export async function withFailures<Result>(
  context: Pick<FileBackendContext, 'name' | 'layout'>,
  neededBytes: number,
  operation: () => Promise<Result>,
): Promise<Result> {
  try {
    return await operation();
  } catch (error) {
    throw await toFailure(error, context, neededBytes);
  }
}

/**
 * The first call to make an object removes all attempts at it, also those of calls that are still on their way. Such a call is run once more, and finds
 * the object. A file that is absent for another reason is absent again.
 */
export async function onceMoreIfAbsent<Result>(operation: () => Promise<Result>): Promise<Result> {
  try {
    return await operation();
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    return await operation();
  }
}

/** Bugs (no errno) pass as they are, and so does what is a failure already. */
export async function toFailure(
  error: unknown,
  { name: backend, layout }: Pick<FileBackendContext, 'name' | 'layout'>,
  neededBytes: number,
): Promise<unknown> {
  if (error instanceof Failure || !isErrnoException(error)) return error;
  const options = { cause: error };
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new Failure(
        'NoSpace',
        { backend, neededBytes, freeBytes: await freeBytesOrZero(layout.directory) },
        options,
      );
    case 'EFBIG':
      return new Failure(
        'InvalidRequest',
        { field: 'sizeBytes', value: String(neededBytes), allowed: 'what the file system takes as one file' },
        options,
      );
    default:
      return new Failure('BackendUnavailable', { backend, cause: `${error.code} in ${error.syscall}` }, options);
  }
}

function isErrnoException(error: unknown): error is Error & { code: string; syscall: string } {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('syscall' in error)) return false;
  return typeof error.code === 'string' && typeof error.syscall === 'string';
}
