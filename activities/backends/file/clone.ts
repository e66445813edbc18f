import { constants } from 'node:fs';
import { chmod, copyFile, open } from 'node:fs/promises';
import { relative } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { Connection } from '../../../workflows/contract/volume';
import type { VolumeMarker } from '../backend';
import { noteClone } from './clone-notes';
import type { FileBackendContext } from './context';
import { publishFile, removeFile, replaceFile, syncDirectory, writeNewFile } from './durable';
import { attemptPaths, imagePaths, newAttempt, volumePaths } from './layout';
import { writeJson } from './markers';
import { removeAttempts } from './remove';
import { formatOverlay, MAX_ANNOTATION_BYTES, MAX_OVERLAY_BYTES, parseOverlay } from './qcow2-overlay';
import { checkSize } from '../sizes';
import { confirmPublished, connectionOf, findVolumeFile, readHead, type FoundVolume } from './volume';
import { settleAll } from '../../../lib/settle-all';
import { hasCode } from '../../../lib/errno';

const VOLUME_MODE = 0o600;

/** See `VolumeBackend.ensureClone`. Two calls at once for one volume make one: the second to publish finds the first's. */
export async function ensureClone(
  context: FileBackendContext,
  parent: string,
  marker: VolumeMarker,
): Promise<Connection> {
  const paths = volumePaths(context.layout, marker.volumeId);
  const existing = await findVolumeFile(context, marker.volumeId);
  // One that was flattened since does not need its parent, which may be gone.
  if (existing === undefined || (await needsParent(existing))) {
    const { virtualBytes } = await context.checkParent(parent);
    checkSize(marker.sizeBytes, {
      leastBytes: virtualBytes,
      mostBytes: context.method === 'overlay' ? MAX_OVERLAY_BYTES : undefined,
    });
  }
  const format = context.method === 'overlay' ? 'qcow2' : 'raw';
  if (existing === undefined && (await makeClone(context, parent, marker)))
    return connectionOf({ path: paths[format], format });
  const connection = await confirmPublished(context, { marker, parent });
  await removeAttempt(attemptOf(context, marker, FIRST_ATTEMPT));
  return connection;
}

async function needsParent({ path, format }: FoundVolume): Promise<boolean> {
  return format === 'qcow2' && parseOverlay(await readHead(path))?.backingFile !== undefined;
}

/** Its name is the same for all tries at a volume, so that the next one sees what a killed one has left. */
const FIRST_ATTEMPT = 'clone';

/** @returns whether this call made it; false when another was faster. After any failure, nothing half-made stays. */
async function makeClone(context: FileBackendContext, parent: string, marker: VolumeMarker): Promise<boolean> {
  const step = { context, parent, marker };
  try {
    return await runAttempt({ ...step, attempt: attemptOf(context, marker, FIRST_ATTEMPT) });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  // Somebody else's, dead or alive: it may go when the volume has its name, since nothing that is visible is ever replaced.
  const published = await runAttempt({ ...step, attempt: attemptOf(context, marker, newAttempt()) });
  await removeAttempts(context, 'volume', marker.volumeId);
  return published;
}

async function runAttempt(step: CloneStep): Promise<boolean> {
  const { context, attempt } = step;
  try {
    const published = context.method === 'overlay' ? await publishOverlay(step) : await publishReflink(step);
    if (published) await syncDirectory(context.layout.volumes);
    return published;
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) await removeAttempt(attempt);
    throw error;
  }
}

function attemptOf({ layout }: FileBackendContext, { volumeId }: VolumeMarker, attempt: string): CloneStep['attempt'] {
  return attemptPaths(layout, { kind: 'volume', name: volumeId, attempt });
}

export async function removeAttempt({ data, marker }: CloneStep['attempt']): Promise<void> {
  await Promise.all([removeFile(data), removeFile(marker)]);
}

export interface CloneStep {
  context: FileBackendContext;
  parent: string;
  marker: VolumeMarker;
  attempt: { data: string; marker: string };
}

/** One durable file: the marker is in the overlay's header. Its parent knows of it before it is there. */
async function publishOverlay(step: CloneStep): Promise<boolean> {
  const { context, marker, attempt } = step;
  await writeOverlay(step);
  return await publishFile(attempt.data, volumePaths(context.layout, marker.volumeId).qcow2);
}

async function writeOverlay({ context, parent, marker, attempt }: CloneStep): Promise<void> {
  const annotation = JSON.stringify({ marker, parent });
  if (Buffer.byteLength(annotation) > MAX_ANNOTATION_BYTES) {
    throw new Failure('InvalidRequest', {
      field: 'name',
      value: `${annotation.length} characters`,
      allowed: `a marker of at most ${MAX_ANNOTATION_BYTES} bytes`,
    });
  }
  const backingFile = relative(context.layout.volumes, imagePaths(context.layout, parent).data);
  await settleAll([
    noteClone(context, { parent, id: marker.volumeId }),
    writeNewFile(attempt.data, formatOverlay({ virtualBytes: marker.sizeBytes, backingFile, annotation })),
  ]);
}

/** Two durable files at once; the marker gets its name first, so that a volume never lacks it. */
async function publishReflink(step: CloneStep): Promise<boolean> {
  const { context, marker, attempt } = step;
  const paths = volumePaths(context.layout, marker.volumeId);
  await writeReflink(step);
  await replaceFile(attempt.marker, paths.marker);
  return await publishFile(attempt.data, paths.raw);
}

/** Writes what a clone consists of, durable, without its name. */
export async function writeClone(step: CloneStep): Promise<void> {
  await (step.context.method === 'overlay' ? writeOverlay(step) : writeReflink(step));
}

async function writeReflink({ context, parent, marker, attempt }: CloneStep): Promise<void> {
  // Both have ended before anybody removes what they have made.
  await settleAll([
    reflinkGrown(imagePaths(context.layout, parent).data, attempt.data, marker.sizeBytes),
    writeJson(attempt.marker, { marker, parent }),
  ]);
}

async function reflinkGrown(source: string, target: string, sizeBytes: number): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  await chmod(target, VOLUME_MODE); // A reflink copies the parent's 0400.
  await using file = await open(target, 'r+');
  await file.truncate(sizeBytes);
  await file.sync();
}
