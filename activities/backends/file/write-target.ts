import { rename } from 'node:fs/promises';
import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import type { WriteTarget } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, writeNewFile } from './durable';
import { isReplaced, settleReplaced, settleSecondName } from './flatten';
import { attemptPaths, formerAttemptPaths, isVolumeId, markedPaths, ORPHANED_MARKER, type AttemptId } from './layout';
import { checkSize } from '../sizes';
import { settleAll } from '../../../lib/settle-all';
import { unlessAbsent } from '../../../lib/errno';
import { pathExists } from '../../../lib/files';

/** Makes a hole of `virtualBytes` for one attempt: always a new file, so that a late writer of an earlier try writes into nothing. */
export async function ensureWriteTarget(
  context: FileBackendContext,
  request: AttemptId & { virtualBytes: number },
): Promise<WriteTarget> {
  const { data } = attemptPaths(context.layout, request);
  checkSize(request.virtualBytes, { leastBytes: SECTOR_BYTES });
  await ensureAttemptAbsent(context, request);
  await writeNewFile(data, { writes: [], fileBytes: request.virtualBytes });
  const { attempt, virtualBytes } = request;
  return { attempt, virtualBytes, qemuTarget: `file:${data}`, path: data };
}

/** See `VolumeBackend.takeOverAttempt`. */
export async function takeOverAttempt(
  context: FileBackendContext,
  {
    from,
    to,
    virtualBytes,
    ...request
  }: Omit<AttemptId, 'attempt'> & { from: string; to: string; virtualBytes: number },
): Promise<WriteTarget | undefined> {
  const path = attemptPaths(context.layout, { ...request, attempt: to }).data;
  const left = attemptPaths(context.layout, { ...request, attempt: from }).data;
  await checkClaim(context);
  const former = formerAttemptPaths(context.layout, { ...request, attempt: from }).data;
  if (!(await moveFile(left, path)) && !(await moveFile(former, path))) return undefined;
  return { attempt: to, virtualBytes, qemuTarget: `file:${path}`, path };
}

/** Removes what one attempt wrote; the absent is done. */
export async function ensureAttemptAbsent(context: FileBackendContext, attempt: AttemptId): Promise<void> {
  const paths = attemptPaths(context.layout, attempt);
  await checkClaim(context);
  const former = formerAttemptPaths(context.layout, attempt);
  if (isReplaced(attempt.attempt) && isVolumeId(attempt.name)) {
    await settleReplaced(context, attempt.name);
    await settleSecondName(context, attempt.name, former.data);
  }
  if (attempt.attempt === ORPHANED_MARKER) await removeOrphanedMarker(context, attempt);
  await settleAll([paths.data, paths.marker, former.data, former.marker].map((path) => removeFile(path)));
}

/** @returns whether there was something to move. */
async function moveFile(from: string, to: string): Promise<boolean> {
  return (await unlessAbsent(rename(from, to).then(() => true))) ?? false;
}

async function removeOrphanedMarker({ layout }: FileBackendContext, { kind, name }: AttemptId): Promise<void> {
  const { data, marker } = markedPaths(layout, kind, name);
  for (const path of data) if (await pathExists(path)) return;
  await removeFile(marker);
}
