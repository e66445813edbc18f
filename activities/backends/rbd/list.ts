import { unlessAbsent } from '../../../lib/errno';
import type { BackendObject, Marker } from '../backend';
import { parseSnapshotMarker, parseVolumeMarker } from '../markers';
import { idObjectOf, type RbdImage } from './cluster';
import { toFailure, type RbdContext } from './context';
import { isEmpty, isIncompleteClone, isUnmade } from './half-made';
import { INCOMPLETE_CLONE, MARKER_KEY, snapshotIdOf, snapshotKeyOf, trashAttempt, type ParsedName } from './names';
import { checkClaim } from './place';
import { parseImageMarker } from './markers';

const DESCRIBED_AT_ONCE = 8;

/**
 * Every image of the pool, or its namespace, with the snapshots of volumes, and what is in its trash, but for volumes that wait there for their last clone;
 * objects removed meanwhile are left out. An image that bears a volume's own name and is none yet, or no longer, is a partial that says so.
 */
export async function* listObjects(context: RbdContext): AsyncIterable<BackendObject> {
  const { cluster } = context;
  try {
    await checkClaim(context);
    const images = await cluster.listImages();
    for (let at = 0; at < images.length; at += DESCRIBED_AT_ONCE) {
      const described = await Promise.all(
        images.slice(at, at + DESCRIBED_AT_ONCE).map(async (image) => await describe(context, image)),
      );
      yield* described.flat();
    }
    for (const { id, name, deletedAt } of await cluster.listTrash()) {
      const parsed = context.names.parse(name);
      if (parsed === undefined || (await waitsForClones(context, id))) continue;
      const found = { name: `${name} (in the trash)`, realBytes: 0, modifiedAt: deletedAt };
      yield partialOf(parsed, trashAttempt(id), found);
    }
    await checkClaim(context);
  } catch (error) {
    throw await toFailure(error, context, 0);
  }
}

async function waitsForClones({ cluster }: RbdContext, trashId: string): Promise<boolean> {
  return (await unlessAbsent(cluster.hasClones(trashId))) ?? false;
}

/** @returns the image, and its snapshots. */
async function describe(context: RbdContext, name: string): Promise<BackendObject[]> {
  const { cluster, names } = context;
  const image = await cluster.describeImage(name, [MARKER_KEY]);
  const parsed = names.parse(name);
  const unopened = image === undefined && parsed && (await describeUnopened(context, name, parsed));
  if (image === undefined) return unopened ? [unopened] : [];
  const object = await describeOpened(context, name, image);
  if (object.kind !== 'volume') return [object];
  const snapshots = image.snapshots.map(async (snapshot) => await describeSnapshot(context, name, snapshot));
  return [object, ...(await Promise.all(snapshots)).filter((found) => found !== undefined)];
}

async function describeSnapshot(
  { cluster, installation }: RbdContext,
  image: string,
  name: string,
): Promise<BackendObject | undefined> {
  const snapshotId = snapshotIdOf(name);
  if (snapshotId === undefined) return undefined;
  const key = snapshotKeyOf(snapshotId);
  const found = await cluster.describeImage(image, [key]);
  const realBytes = await unlessAbsent(cluster.usedBytes(image, name));
  if (found === undefined || realBytes === undefined) return undefined;
  const marker = parseSnapshotMarker(found.metadata[key] ?? '');
  const { modifiedAt } = found;
  if (marker?.installation !== installation)
    return { kind: 'foreign', name: `${image}@${name}`, realBytes, modifiedAt, marker };
  return { kind: 'snapshot', name: snapshotId, realBytes, modifiedAt, marker };
}

async function describeOpened(context: RbdContext, name: string, image: RbdImage): Promise<BackendObject> {
  const { names, installation } = context;
  const parsed = names.parse(name);
  const realBytes = await usedBytes(context, name);
  const found = { name, realBytes, modifiedAt: image.modifiedAt };
  if (parsed === undefined) return { kind: 'foreign', ...found };
  const { kind, attempt } = parsed;
  if (attempt !== undefined) return partialOf(parsed, attempt, found);
  if (
    kind === 'volume' &&
    (isIncompleteClone(context, name, image) || (isUnmade(image) && (await isEmpty(context, name))))
  )
    return partialOf(parsed, INCOMPLETE_CLONE, found);
  const text = image.metadata[MARKER_KEY];
  const marker: Marker | undefined =
    kind === 'volume' ? parseVolumeMarker(text ?? '')?.marker : parseImageMarker(text)?.marker;
  if (marker?.installation !== installation) return { kind: 'foreign', ...found, marker };
  return { kind, ...found, name: parsed.name, marker };
}

/** A call was killed before its header was written, or after it was removed: how old that is, the name's own object tells. */
async function describeUnopened(
  { cluster }: RbdContext,
  name: string,
  parsed: ParsedName,
): Promise<BackendObject | undefined> {
  const writtenAt = await cluster.objectWrittenAt(idObjectOf(name));
  // Without that object, it is the last step of a removal, which another call may be doing now.
  if (writtenAt === undefined && !(await cluster.listImages()).includes(name)) return undefined;
  const found = { name, realBytes: 0, modifiedAt: writtenAt ?? new Date(0) };
  return partialOf(parsed, parsed.attempt ?? INCOMPLETE_CLONE, found);
}

function partialOf(
  { kind, name, attempt: ofName }: ParsedName,
  attempt: string,
  found: Pick<BackendObject, 'name' | 'realBytes' | 'modifiedAt'>,
): BackendObject {
  const partial = { kind, name, attempt };
  return { kind: 'partial', ...found, partial, ...(ofName === undefined && { hasObjectName: true }) };
}

async function usedBytes({ cluster }: RbdContext, name: string): Promise<number> {
  return (await unlessAbsent(cluster.usedBytes(name))) ?? 0;
}
