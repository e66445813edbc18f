import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import { uuidPattern, type VolumeId } from '../../../workflows/contract/ids';
import { quote } from '../../../workflows/contract/words';
import type { ObjectKind } from '../backend';

/**
 * The layout of a backend's directory:
 *
 *     backend.json                         whose directory this is
 *     images/<name>.raw   <name>.json      a sealed image-volume, 0400, and its marker
 *     volumes/<id>.raw    <id>.json        a volume with all its bytes, 0600, and its marker
 *     volumes/<id>.qcow2                   an overlay on `../images/<name>.raw`, 0600; its marker is in its header
 *     snapshots/<id>.raw    <id>.qcow2     a copy of a volume in its form, 0400
 *     snapshots/<id>.json                  its marker
 *     partial-images/<name>.<attempt>.partial        what an attempt has not published yet
 *     partial-images/<name>.<attempt>.json.partial   its marker
 *     partial-volumes/…  partial-snapshots/…         the same of volumes and snapshots
 *     clones/<name>/<id>                   an empty file: the overlay `<id>`, of a volume or a snapshot, needs image-volume `<name>`
 *
 * So nothing that is done to one object reads the names of all of them. The folders of partials are siblings of those that they publish into: the
 * relative name of a backing file holds in both.
 */
export interface Layout {
  directory: string;
  claim: string;
  images: string;
  volumes: string;
  snapshots: string;
  partialImages: string;
  partialVolumes: string;
  partialSnapshots: string;
  clones: string;
}

/** Where a volume or a snapshot lies, in one of two forms. */
export interface DiskPaths {
  raw: string;
  qcow2: string;
  /** Of a raw volume, and of every snapshot. */
  marker: string;
}

export interface AttemptId {
  kind: ObjectKind;
  name: string;
  attempt: string;
}

/** The attempt that stands for a marker whose object is missing: a kill between the two leaves it. */
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
    snapshots: join(directory, 'snapshots'),
    partialImages: join(directory, 'partial-images'),
    partialVolumes: join(directory, 'partial-volumes'),
    partialSnapshots: join(directory, 'partial-snapshots'),
    clones: join(directory, 'clones'),
  };
}

/** Where an attempt's files lie until they are published. */
export function partialsOf({ partialImages, partialVolumes, partialSnapshots }: Layout, kind: ObjectKind): string {
  return { 'image-volume': partialImages, volume: partialVolumes, snapshot: partialSnapshots }[kind];
}

/** Where published objects lie. */
export function objectsOf({ images, volumes, snapshots }: Layout, kind: ObjectKind): string {
  return { 'image-volume': images, volume: volumes, snapshot: snapshots }[kind];
}

/** Paths of one image-volume. @throws InvalidRequest for a name that is no plain file name. */
export function imagePaths(layout: Layout, name: string) {
  checkName('name', name);
  return { data: join(layout.images, `${name}.raw`), marker: join(layout.images, `${name}.json`) };
}

/** Paths of one volume. @throws InvalidRequest when the id is no UUID. */
export function volumePaths(layout: Layout, volumeId: string): DiskPaths {
  checkId('volume', volumeId);
  return diskPathsIn(layout.volumes, volumeId);
}

/** Paths of one snapshot. @throws InvalidRequest when the id is no UUID. */
export function snapshotPaths(layout: Layout, snapshotId: string): DiskPaths {
  checkId('snapshot', snapshotId);
  return diskPathsIn(layout.snapshots, snapshotId);
}

function diskPathsIn(directory: string, id: string): DiskPaths {
  const base = join(directory, id);
  return { raw: `${base}.raw`, qcow2: `${base}.qcow2`, marker: `${base}.json` };
}

/** Where an object's marker lies, and the bytes that it tells of. @throws as `imagePaths`, `volumePaths`, `snapshotPaths`. */
export function markedPaths(layout: Layout, kind: ObjectKind, name: string): { data: string[]; marker: string } {
  if (kind === 'image-volume') {
    const { data, marker } = imagePaths(layout, name);
    return { data: [data], marker };
  }
  const { raw, qcow2, marker } = kind === 'volume' ? volumePaths(layout, name) : snapshotPaths(layout, name);
  return { data: kind === 'volume' ? [raw] : [raw, qcow2], marker };
}

/** Paths of what one attempt writes before it is published. @throws InvalidRequest for names that are no plain file names. */
export function attemptPaths(layout: Layout, attempt: AttemptId) {
  return attemptPathsIn(partialsOf(layout, attempt.kind), attempt);
}

/** Where earlier versions have put what an attempt writes: beside what is published. */
export function formerAttemptPaths(layout: Layout, attempt: AttemptId) {
  return attemptPathsIn(objectsOf(layout, attempt.kind), attempt);
}

function attemptPathsIn(directory: string, { kind, name, attempt }: AttemptId) {
  if (kind === 'image-volume') checkName('name', name);
  else checkId(kind, name);
  checkName('attempt', attempt);
  const base = join(directory, `${name}.${attempt}`);
  return { data: `${base}.partial`, marker: `${base}.json.partial` };
}

/** Where the clones that need an image-volume are noted. @throws InvalidRequest for a name that is no plain file name. */
export function clonesPath(layout: Layout, imageVolume: string): string {
  checkName('name', imageVolume);
  return join(layout.clones, imageVolume);
}

/** @param backingFile as an overlay in `volumes/` names it. @returns the image-volume that it is; undefined when it is none of this directory. */
export function imageVolumeOf(layout: Layout, backingFile: string): string | undefined {
  const path = join(layout.volumes, backingFile);
  const name = basename(path, '.raw');
  return dirname(path) === layout.images && path.endsWith('.raw') && isImageVolumeName(name) ? name : undefined;
}

/** Whether a name from the disk can be an image-volume's. */
export function isImageVolumeName(value: string): boolean {
  return namePattern.test(value);
}

/** Whether a name from the disk can be a volume's, or a snapshot's. */
export function isVolumeId(value: string): value is VolumeId {
  return uuidPattern.test(value);
}

/** @returns a name for an attempt of this process that no other attempt has. */
export function newAttempt(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** @returns what a file in `images/` or `volumes/` is by its name; undefined: nothing of ours. */
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
    value: quote(value),
    allowed: '1 to 100 letters, digits, "-" and "_", the first a letter or digit',
  });
}

function checkId(kind: 'volume' | 'snapshot', value: string): void {
  if (uuidPattern.test(value)) return;
  throw new Failure('InvalidRequest', { field: `${kind}Id`, value: quote(value), allowed: 'a UUID in lower case' });
}
