import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../../workflows/contract/ids';

/**
 * What lies where in a backend's directory:
 *
 *     backend.json                         whose directory this is
 *     images/<name>.raw   <name>.json      a sealed image-volume, 0400, and its marker
 *     volumes/<id>.raw    <id>.json        a volume with all its bytes, 0600, and its marker
 *     volumes/<id>.qcow2                   an overlay on `../images/<name>.raw`, 0600; its marker is in its header
 *     …/<name>.<attempt>.partial           what an attempt has not published yet
 *     …/<name>.<attempt>.json.partial      its marker
 */
export interface Layout {
  directory: string;
  claim: string;
  images: string;
  volumes: string;
}

export type ObjectKind = 'image-volume' | 'volume';
export interface AttemptId {
  kind: ObjectKind;
  name: string;
  attempt: string;
}

/** The attempt that stands for a marker whose object is missing: what a kill between the two leaves. */
export const ORPHANED_MARKER = 'marker';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;
const filePattern =
  /^([A-Za-z0-9][A-Za-z0-9_-]{0,99})(?:\.([A-Za-z0-9][A-Za-z0-9_-]{0,99})(?:\.json)?\.partial|\.(raw|qcow2|json))$/;

export function layoutOf(directory: string): Layout {
  return {
    directory,
    claim: join(directory, 'backend.json'),
    images: join(directory, 'images'),
    volumes: join(directory, 'volumes'),
  };
}

/** Paths of one image-volume. @throws InvalidRequest for a name that is no plain file name. */
export function imagePaths(layout: Layout, name: string) {
  checkName('name', name);
  return { data: join(layout.images, `${name}.raw`), marker: join(layout.images, `${name}.json`) };
}

/** Paths of one volume. @throws InvalidRequest when the id is no UUID. */
export function volumePaths(layout: Layout, volumeId: string) {
  if (!isVolumeId(volumeId)) throw invalidVolumeId(volumeId);
  const base = join(layout.volumes, volumeId);
  return { raw: `${base}.raw`, qcow2: `${base}.qcow2`, marker: `${base}.json` };
}

/** Paths of what one attempt writes before it is published. @throws InvalidRequest for names that are no plain file names. */
export function attemptPaths(layout: Layout, { kind, name, attempt }: AttemptId) {
  if (kind === 'image-volume') checkName('name', name);
  else if (!isVolumeId(name)) throw invalidVolumeId(name);
  checkName('attempt', attempt);
  const base = join(kind === 'volume' ? layout.volumes : layout.images, `${name}.${attempt}`);
  return { data: `${base}.partial`, marker: `${base}.json.partial` };
}

/** Whether a name from the disk can be a volume's. */
export function isVolumeId(value: string): value is VolumeId {
  return uuidPattern.test(value);
}

/** @returns a name for an attempt of this process that no other attempt has. */
export function newAttempt(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** What a file in `images/` or `volumes/` is by its name; undefined: nothing of ours. */
export function parseFileName(
  file: string,
): { name: string; attempt?: string; extension: 'raw' | 'qcow2' | 'json' | 'partial' } | undefined {
  const [, name, attempt, extension] = filePattern.exec(file) ?? [];
  if (name === undefined) return undefined;
  if (attempt !== undefined) return { name, attempt, extension: 'partial' };
  return extension === 'raw' || extension === 'qcow2' || extension === 'json' ? { name, extension } : undefined;
}

function checkName(field: string, value: string): void {
  if (namePattern.test(value)) return;
  throw new Failure('InvalidRequest', {
    field,
    value: JSON.stringify(value),
    allowed: '1 to 100 letters, digits, "-" and "_", the first a letter or digit',
  });
}

function invalidVolumeId(value: string): Failure<'InvalidRequest'> {
  return new Failure('InvalidRequest', {
    field: 'volumeId',
    value: JSON.stringify(value),
    allowed: 'a UUID in lower case',
  });
}
