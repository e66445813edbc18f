import { Failure } from '../../../workflows/contract/failures';
import { uuidPattern, type SnapshotId, type VolumeId } from '../../../workflows/contract/ids';

export type ImageKind = 'image-volume' | 'volume';
export interface AttemptId {
  kind: ImageKind;
  name: string;
  attempt: string;
}

/** An image by its name; `attempt`: it has the name of one, not the object's own. */
export interface ParsedName {
  kind: ImageKind;
  name: string;
  attempt?: string;
}

/** How objects are called in the pool: `{id}` stands for a volume's id, `{key}` for an image-volume's cache key and generation. */
export interface NameTemplates {
  volume: string;
  image: string;
}

/** Claim of the pool: a RADOS object beside the images. */
export const CLAIM_OBJECT = 'image-volume-cache.claim';
/** The one snapshot of an image-volume: made once, when it is sealed; all clones are of it. */
export const SEAL = 'sealed';
/** Image metadata: the marker, as JSON. */
export const MARKER_KEY = 'image-volume-cache.marker';

/** Image metadata: a flatten of this clone has begun. It says nothing of an image without a parent. */
export const FLATTEN_KEY = 'image-volume-cache.flatten';

/** Before the id of a volume's snapshot. */
const SNAPSHOT_PREFIX = 'snapshot-';
/** Image metadata of the volume: before the id of a snapshot, whose marker it is. Clones of the volume have it too, and say nothing by it. */
const SNAPSHOT_KEY_PREFIX = 'image-volume-cache.snapshot.';

/** The attempt that stands for a clone without its marker: a kill in its middle leaves it. */
export const INCOMPLETE_CLONE = 'clone';
/** Before the id of an image in the trash: the attempt that stands for it. */
const TRASH_PREFIX = 'trash-';

const PLACEHOLDERS = { volume: '{id}', image: '{key}' };
const plainName = '[A-Za-z0-9][A-Za-z0-9_-]{0,99}';
/** The inventory's names for image-volumes say what they are; in the pool the template does. */
const GENERATED_PREFIX = 'image-volume-';
const keyPattern = /^[0-9a-f]{32}-/;
const generatedPattern = /^image-volume-([0-9a-f]{32}-.*)$/;
const plainPattern = new RegExp(`^${plainName}$`);

/** The names of one pool. `…Of` throws InvalidRequest for names that are no plain ones. */
export function createNames(templates: NameTemplates) {
  const patternOf = (kind: 'volume' | 'image'): RegExp => {
    const [before = '', after = ''] = templates[kind].split(PLACEHOLDERS[kind]);
    return new RegExp(`^${escape(before)}(${plainName})${escape(after)}(?:\\.(${plainName})\\.partial)?$`);
  };
  const patterns = { volume: patternOf('volume'), image: patternOf('image') };
  const volumeOf = (volumeId: string): string => {
    if (!isVolumeId(volumeId)) throw refuse('volumeId', volumeId, 'a UUID');
    return templates.volume.replace(PLACEHOLDERS.volume, volumeId);
  };
  const imageOf = (name: string): string => {
    checkPlain('name', name);
    return templates.image.replace(PLACEHOLDERS.image, generatedPattern.exec(name)?.[1] ?? name);
  };
  const objectOf = (kind: ImageKind, name: string): string => (kind === 'volume' ? volumeOf(name) : imageOf(name));
  return {
    volumeOf,
    imageOf,
    objectOf,
    attemptOf({ kind, name, attempt }: AttemptId): string {
      checkPlain('attempt', attempt);
      return `${objectOf(kind, name)}.${attempt}.partial`;
    },
    /** @returns what an image is by its name; undefined: nothing of ours. */
    parse(image: string): ParsedName | undefined {
      const asVolume = patterns.volume.exec(image);
      if (asVolume?.[1] !== undefined && isVolumeId(asVolume[1]))
        return { kind: 'volume', name: asVolume[1], attempt: asVolume[2] };
      const asImage = patterns.image.exec(image);
      if (asImage?.[1] === undefined) return undefined;
      const name = keyPattern.test(asImage[1]) ? `${GENERATED_PREFIX}${asImage[1]}` : asImage[1];
      return { kind: 'image-volume', name, attempt: asImage[2] };
    },
  };
}
export type Names = ReturnType<typeof createNames>;

/** @throws InvalidRequest when the id is no UUID. */
export function snapshotNameOf(snapshotId: string): string {
  if (!uuidPattern.test(snapshotId)) throw refuse('snapshotId', snapshotId, 'a UUID');
  return `${SNAPSHOT_PREFIX}${snapshotId}`;
}
export const snapshotKeyOf = (snapshotId: SnapshotId): string => `${SNAPSHOT_KEY_PREFIX}${snapshotId}`;

/** The snapshot that Cinder makes of a volume to clone it. Source: `cinder.volume.drivers.rbd`. @param image the clone. */
export const cinderCloneSnapshotOf = (image: string): string => `${image}.clone_snap`;

/** @returns the id of a snapshot by its name; undefined: nothing of ours. */
export function snapshotIdOf(name: string): SnapshotId | undefined {
  const id = name.slice(SNAPSHOT_PREFIX.length);
  return name.startsWith(SNAPSHOT_PREFIX) && uuidPattern.test(id) ? (id as SnapshotId) : undefined;
}

export const trashAttempt = (id: string): string => `${TRASH_PREFIX}${id}`;
export const trashIdOf = (attempt: string): string | undefined =>
  attempt.startsWith(TRASH_PREFIX) ? attempt.slice(TRASH_PREFIX.length) : undefined;

export function isVolumeId(value: string): value is VolumeId {
  return uuidPattern.test(value);
}

function checkPlain(field: string, value: string): void {
  if (plainPattern.test(value)) return;
  throw refuse(field, value, '1 to 100 letters, digits, "-" and "_", the first a letter or digit');
}

function refuse(field: string, value: string, allowed: string): Failure<'InvalidRequest'> {
  return new Failure('InvalidRequest', { field, value: JSON.stringify(value), allowed });
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
