import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import type { ParentDescription } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { imagePaths } from './layout';
import { findImageMarker, type StoredImageMarker } from './markers';
import { unlessAbsent } from '../../../lib/errno';
import { STAT_BLOCK_BYTES } from '../../../lib/files';

export const SEALED_MODE = 0o400;
const MODE_BITS = 0o777n;
const NS_PER_SECOND = 1_000_000_000n;

/**
 * Says whether the image-volume is as it was sealed: read-only, of its size, and not written since. Any other answer condemns an entry, so it is
 * believed only of the place that was claimed, before and after the check: a file system may go away and come back.
 */
export async function describeParent(context: FileBackendContext, name: string): Promise<ParentDescription> {
  await checkClaim(context);
  const described = await describeFile(context, name);
  if (described.kind !== 'sealed') await checkClaim(context);
  return described;
}

async function describeFile(context: FileBackendContext, name: string): Promise<ParentDescription> {
  const paths = imagePaths(context.layout, name);
  const [file, stored] = await Promise.all([
    unlessAbsent(stat(paths.data, { bigint: true })),
    findImageMarker(paths.marker),
  ]);
  if (file === undefined) return { kind: 'absent' };
  if (stored === undefined || stored.marker.installation !== context.installation) return { kind: 'unsealed' };
  const found = findChange(file, stored);
  if (found !== undefined) return { kind: 'changed', found };
  return {
    kind: 'sealed',
    virtualBytes: stored.marker.virtualBytes,
    realBytes: Number(file.blocks) * STAT_BLOCK_BYTES,
  };
}

/**
 * The blocks that the parent's file has. Of those that reflinked clones still share nothing comes back before they are overwritten or deleted too; which
 * these are only the FIEMAP call tells, which Node does not have: it is the most that may come back. An overlay's parent shares none.
 */
export async function reclaimableBytes(context: FileBackendContext, name: string): Promise<number> {
  const file = await unlessAbsent(stat(imagePaths(context.layout, name).data));
  if (file === undefined) await checkClaim(context);
  return (file?.blocks ?? 0) * STAT_BLOCK_BYTES;
}

/** @returns the sealed parent's size. @throws ParentUnusable when it is anything but sealed. */
export async function getSealedParent(
  context: FileBackendContext,
  name: string,
): Promise<{ virtualBytes: number; realBytes: number }> {
  const described = await describeParent(context, name);
  if (described.kind === 'sealed') return { virtualBytes: described.virtualBytes, realBytes: described.realBytes };
  const found = described.kind === 'changed' ? `changed: ${described.found}` : described.kind;
  throw new Failure('ParentUnusable', { backend: context.name, parent: name, found });
}

function findChange(file: BigIntStats, { marker, sealedAtSeconds }: StoredImageMarker): string | undefined {
  if (!file.isFile()) return 'it is no regular file';
  const mode = Number(file.mode & MODE_BITS);
  if (mode !== SEALED_MODE) return `its mode is ${mode.toString(8)}, not ${SEALED_MODE.toString(8)}`;
  if (Number(file.size) !== marker.virtualBytes) return `it has ${file.size} bytes, not ${marker.virtualBytes}`;
  if (file.mtimeNs !== BigInt(sealedAtSeconds) * NS_PER_SECOND) return 'it was written after it was sealed';
  return undefined;
}
