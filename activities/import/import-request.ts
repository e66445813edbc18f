import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import type {
  CinderProjectQuota,
  CinderVolume,
  CinderVolumeType,
  ImportFromCinderInput,
} from '../../workflows/contract/cinder-import';
import type { BackendName } from '../../workflows/contract/ids';
import { quote } from '../../workflows/contract/words';
import type { ControlDependencies } from '../dependencies';
import { boundedText, callerSchema, chooseBackend, parseRequest, projectId, storableText } from '../kit/request';

/** Of one part: its content is in the history. */
const MAX_VOLUMES = 200;
const MAX_SETTINGS = 2000;
const MAX_TEXT = 64 * 1024;

const text = storableText(MAX_TEXT);
const optional = text.nullable();
const size = z.int().nonnegative();
const record = z.record(text, text);
const snapshot = z.strictObject({
  snapshotId: text,
  name: optional,
  description: optional,
  metadata: record,
  sizeBytes: size,
  status: text,
  isGrouped: z.boolean(),
  createdAt: z.iso.datetime(),
});
const attachment = z.strictObject({
  attachmentId: text,
  instanceId: optional,
  hostName: optional,
  mountpoint: optional,
  mode: z.enum(['rw', 'ro']).nullable(),
  status: text,
  connector: z.record(z.string(), z.unknown()).nullable(),
  createdAt: z.iso.datetime(),
  attachedAt: z.iso.datetime().nullable(),
});
const volume = z.strictObject({
  volumeId: text,
  projectId,
  userId: optional,
  name: optional,
  description: optional,
  sizeBytes: size,
  status: text,
  host: optional,
  nameId: optional,
  migrationStatus: optional,
  replicationStatus: optional,
  isEncrypted: z.boolean(),
  isGrouped: z.boolean(),
  volumeTypeId: optional,
  bootable: z.boolean(),
  multiattach: z.boolean(),
  readOnly: z.boolean(),
  metadata: record,
  imageMetadata: record,
  createdAt: z.iso.datetime(),
  attachments: z.array(attachment),
  snapshots: z.array(snapshot),
  cachedImageId: optional,
});
const type = z.strictObject({
  volumeTypeId: text,
  name: text,
  description: optional,
  isPublic: z.boolean(),
  extraSpecs: record,
  projects: z.array(projectId),
  encryption: z
    .strictObject({
      encryptionId: text,
      provider: text,
      controlLocation: z.enum(['front-end', 'back-end']),
      cipher: optional,
      keySize: z.int().nullable(),
    })
    .nullable(),
  qosSpecsId: optional,
});
const quota = z.strictObject({ projectId, resource: text, limit: z.int() });

const importSchema = z.strictObject({
  backend: boundedText(40).optional(),
  dryRun: z.boolean('true or false').optional(),
  source: boundedText(255),
  types: z.array(type).max(MAX_SETTINGS).optional(),
  quotas: z.array(quota).max(MAX_SETTINGS).optional(),
  volumes: z.array(volume).max(MAX_VOLUMES).optional(),
  typesOf: z.record(text, z.strictObject({ name: text, refused: optional })).optional(),
  ...callerSchema,
});
const revertSchema = z.strictObject({
  backend: boundedText(40).optional(),
  dryRun: z.boolean('true or false').optional(),
  source: boundedText(255).optional(),
  ...callerSchema,
});

/** A part of an import, of which everything is said. */
export interface ImportOrder {
  backend: BackendName;
  dryRun: boolean;
  source: string;
  types: CinderVolumeType[];
  quotas: CinderProjectQuota[];
  volumes: CinderVolume[];
  typesOf: NonNullable<ImportFromCinderInput['typesOf']>;
  by?: string;
  requestId?: string;
}

/** @throws InvalidRequest naming the first field that is wrong, BackendNotFound (final). */
export function parseImport(deps: ControlDependencies, input: unknown): ImportOrder {
  const {
    backend,
    dryRun = false,
    types = [],
    quotas = [],
    volumes = [],
    typesOf,
    ...rest
  } = parseRequest(importSchema, input);
  return {
    ...rest,
    // Settings alone need none that takes volumes over.
    backend: typesOf === undefined && volumes.length === 0 ? chooseBackend(deps, backend) : chooseTaking(deps, backend),
    dryRun,
    types,
    quotas,
    volumes: volumes as CinderVolume[],
    typesOf: typesOf ?? {},
  };
}

export interface RevertOrder {
  backend: BackendName;
  dryRun: boolean;
  source?: string;
  by?: string;
  requestId?: string;
}

/** @throws InvalidRequest, BackendNotFound (final). */
export function parseRevert(deps: ControlDependencies, input: unknown): RevertOrder {
  const { backend, dryRun = false, ...rest } = parseRequest(revertSchema, input ?? {});
  return { ...rest, backend: chooseBackend(deps, backend), dryRun };
}

/** Of a driver that finds there what Cinder makes, by the names that Cinder gives it. */
function chooseTaking(deps: ControlDependencies, given: string | undefined): BackendName {
  const name = chooseBackend(deps, given);
  const config = deps.config.backends[name];
  const refuse = (value: string, allowed: string) =>
    new Failure('InvalidRequest', { field: 'backend', value, allowed });
  if (config?.driver !== 'rbd')
    throw refuse(`${quote(name)}, of the driver ${config?.driver}`, 'a backend of the driver rbd');
  if (config.names.volume !== CINDER_NAMES)
    throw refuse(
      `${quote(name)}, whose volumes are called ${config.names.volume}`,
      `one with names.volume ${CINDER_NAMES}`,
    );
  return name;
}

/** Source: Cinder's `volume_name_template`. */
const CINDER_NAMES = 'volume-{id}';

/** Checks a part of an import. @throws InvalidRequest, BackendNotFound (final). */
export function createPlanImport(deps: ControlDependencies) {
  return async function planImport(input: unknown): Promise<Pick<ImportOrder, 'backend' | 'dryRun'>> {
    const { backend, dryRun } = await Promise.resolve(parseImport(deps, input));
    return { backend, dryRun };
  };
}

/** Checks what is to be given back. @throws InvalidRequest, BackendNotFound (final). */
export function createPlanRevert(deps: ControlDependencies) {
  return async function planRevert(input: unknown): Promise<Pick<RevertOrder, 'backend' | 'dryRun'>> {
    const { backend, dryRun } = await Promise.resolve(parseRevert(deps, input));
    return { backend, dryRun };
  };
}
