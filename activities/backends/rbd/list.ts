import type { BackendObject, Marker } from '../backend';
import { parseVolumeMarker } from '../markers';
import { isCephError } from './ceph-error';
import { toFailure, type RbdContext } from './context';
import { INCOMPLETE_CLONE, MARKER_KEY, trashAttempt } from './names';
import { checkClaim } from './place';
import { isIncompleteClone } from './volume';
import { parseImageMarker } from './markers';

const DESCRIBED_AT_ONCE = 8;

/** Every image of the pool, or its namespace, and what is in its trash; what goes meanwhile is left out. */
export async function* listObjects(context: RbdContext): AsyncIterable<BackendObject> {
  const { cluster } = context;
  try {
    await checkClaim(context);
    const images = await cluster.listImages();
    for (let at = 0; at < images.length; at += DESCRIBED_AT_ONCE) {
      const described = await Promise.all(
        images.slice(at, at + DESCRIBED_AT_ONCE).map(async (image) => await describe(context, image)),
      );
      for (const object of described) if (object !== undefined) yield object;
    }
    for (const { id, name } of await cluster.listTrash()) {
      const parsed = context.names.parse(name);
      if (parsed === undefined) continue;
      const partial = { kind: parsed.kind, name: parsed.name, attempt: trashAttempt(id) };
      yield { kind: 'partial', name: `${name} (in the trash)`, realBytes: 0, modifiedAt: new Date(0), partial };
    }
    await checkClaim(context);
  } catch (error) {
    throw await toFailure(error, context, 0);
  }
}

async function describe(context: RbdContext, name: string): Promise<BackendObject | undefined> {
  const { cluster, names, installation } = context;
  const image = await cluster.describeImage(name, [MARKER_KEY]);
  const parsed = names.parse(name);
  if (image === undefined) {
    // Its name is there and it does not open: a call was killed before its header was written.
    const partial = parsed && { kind: parsed.kind, name: parsed.name, attempt: parsed.attempt ?? INCOMPLETE_CLONE };
    return partial && { kind: 'partial', name, realBytes: 0, modifiedAt: new Date(), partial };
  }
  const realBytes = await usedBytes(context, name);
  const found = { name, realBytes, modifiedAt: image.modifiedAt };
  if (parsed === undefined) return { kind: 'foreign', ...found };
  const { kind, attempt } = parsed;
  if (attempt !== undefined) return { kind: 'partial', ...found, partial: { kind, name: parsed.name, attempt } };
  if (kind === 'volume' && isIncompleteClone(context, image))
    return { kind: 'partial', ...found, partial: { kind, name: parsed.name, attempt: INCOMPLETE_CLONE } };
  const text = image.metadata[MARKER_KEY];
  const marker: Marker | undefined =
    kind === 'volume' ? parseVolumeMarker(text ?? '')?.marker : parseImageMarker(text)?.marker;
  if (marker?.installation !== installation) return { kind: 'foreign', ...found, marker };
  return { kind, ...found, name: parsed.name, marker };
}

async function usedBytes({ cluster }: RbdContext, name: string): Promise<number> {
  try {
    return await cluster.usedBytes(name);
  } catch (error) {
    if (isCephError(error, 'absent')) return 0;
    throw error;
  }
}
