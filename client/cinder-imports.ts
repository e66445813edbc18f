import { randomUUID } from 'node:crypto';
import { assembleCinder, type CinderContents } from '../activities/cinder/assemble';
import { CinderDatabaseError } from '../activities/cinder/client';
import { describeCinderUrl, parseCinderUrl } from '../activities/cinder/cinder-url';
import { readCinderTables } from '../activities/cinder/read-tables';
import {
  countFindings,
  type CinderVolume,
  type ImportFinding,
  type ImportFromCinderInput,
  type ImportFromCinderResult,
  type RevertImportInput,
  type RevertImportResult,
} from '../workflows/contract/cinder-import';
import type { Caller } from '../workflows/contract/event-kinds';
import type { BackendName } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { ImageVolumeCache } from './connection';
import { asClientErrors, ImageVolumeCacheError } from './errors';
import { backendOf, runWorkflow, type Ran, type RunOptions } from './run-workflow';
import { seedCache } from './uploads';

export interface CinderImportRequest extends Caller {
  /** Of Cinder's database, as `[database] connection` of its configuration: of MySQL, MariaDB or PostgreSQL. */
  database: string;
  /** Default: the default backend. */
  backend?: string;
  /** Changes nothing, tells what would be done. Default: false. */
  dryRun?: boolean;
}

export interface CinderImportReport extends ImportFromCinderResult {
  /** Of each kind of finding, how many of each action. */
  counts: Record<string, number>;
}

export interface CinderImportOptions extends Pick<RunOptions, 'signal'> {
  /** Called with each part that is done. */
  onProgress?: (done: number, total: number) => void;
}

/** A part's input and result are in the history of its run. */
const VOLUMES_A_PART = 50;
const SETTINGS_A_PART = 200;
/** Cinder's volume services report every 10 s: one that is silent for so long has ended. */
const SILENT_SECONDS = 30;

/**
 * Takes what a Cinder with an RBD backend has over where it lies: volume types, quotas, volumes with their snapshots and attachments, and what its image-volume
 * cache has cached. It reads Cinder's database, and writes nothing in it. Run again it goes on: objects taken over before are `present`. Undo: `revertImport`.
 * @throws ImageVolumeCacheError `CinderUnavailable`, `CinderRunning` where its volume services still run and it is no dry run, `InvalidRequest`,
 * `BackendNotFound`, `TemporalUnavailable`, `WaitInterrupted`.
 */
export async function importFromCinder(
  cache: ImageVolumeCache,
  { database, backend, dryRun = false, ...caller }: CinderImportRequest,
  { signal, onProgress }: CinderImportOptions = {},
): Promise<CinderImportReport> {
  const { contents, source } = await readCinder(database);
  const running = contents.services.filter(({ seconds }) => seconds < SILENT_SECONDS);
  if (!dryRun && running.length > 0) throw isRunning(running);
  const parts = partsOf(contents);
  const importId = randomUUID();
  const asked = { ...(backend !== undefined && { backend }), dryRun, source, ...caller };
  const findings: ImportFinding[] = [];
  const typesOf: NonNullable<ImportFromCinderInput['typesOf']> = Object.fromEntries(
    contents.types.map(({ volumeTypeId, name }) => [volumeTypeId, { name, refused: null }]),
  );
  let named = backendOf(cache, backend);
  for (const [at, part] of parts.entries()) {
    const request = {
      type: workflowTypes.importFromCinder,
      workflowId: cache.queues.ids.importFromCinder(named, importId, at + 1),
      conflict: 'FAIL',
      input: { ...asked, ...part, typesOf },
      summary: `${dryRun ? 'look at' : 'take over'} part ${at + 1} of ${parts.length} of ${source}`,
    } as const;
    const { result } = await runWorkflow<ImportFromCinderResult, { signal?: AbortSignal }>(cache, request, {
      options: { signal },
    });
    named = result.backend;
    findings.push(...result.findings);
    // Volumes come after all types.
    for (const { kind, object, action, reason } of result.findings) {
      const type = kind === 'type' && action === 'refused' ? typesOf[object] : undefined;
      if (type !== undefined) type.refused = reason;
    }
    onProgress?.(at + 1, parts.length);
  }
  findings.push(...(await cacheImages({ cache, findings, dryRun, caller, signal }, contents.volumes)));
  findings.push(...contents.leftovers.map((left) => ({ ...left, bytes: null, action: 'refused' as const })));
  return { backend: named, dryRun, findings, counts: countFindings(findings) };
}

async function readCinder(database: string): Promise<{ contents: CinderContents; source: string }> {
  const url = await asClientErrors(() => Promise.resolve().then(() => parseCinderUrl(database)));
  try {
    return { contents: assembleCinder(await readCinderTables(url)), source: describeCinderUrl(url) };
  } catch (cause) {
    if (!(cause instanceof CinderDatabaseError)) throw cause;
    throw new ImageVolumeCacheError({ type: 'CinderUnavailable', message: cause.message, cause });
  }
}

function isRunning(services: CinderContents['services']): ImageVolumeCacheError {
  const said = services.map(({ host, seconds }) => `${host} ${seconds} s ago`).join(', ');
  const message =
    `Cinder still runs: its volume services have reported (${said}); ` +
    `stop Cinder, its volume services for ${SILENT_SECONDS} s, so that nobody but this installation changes what it takes over; \`--dry-run\` needs no stop`;
  return new ImageVolumeCacheError({ type: 'CinderRunning', message });
}

type Part = Pick<ImportFromCinderInput, 'types' | 'quotas' | 'volumes'>;

function partsOf({ types, quotas, volumes }: CinderContents): Part[] {
  return [
    ...cut(types, SETTINGS_A_PART).map((part) => ({ types: part })),
    ...cut(quotas, SETTINGS_A_PART).map((part) => ({ quotas: part })),
    ...cut(volumes, VOLUMES_A_PART).map((part) => ({ volumes: part })),
  ];
}

function cut<Item>(items: readonly Item[], length: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / length) }, (_none, at) =>
    items.slice(at * length, (at + 1) * length),
  );
}

interface Caching {
  cache: ImageVolumeCache;
  findings: readonly ImportFinding[];
  dryRun: boolean;
  caller: Caller;
  signal?: AbortSignal;
}

/** Caches here the images that Cinder has cached, by a clone of the volume in which Cinder keeps each. */
async function cacheImages(caching: Caching, volumes: readonly CinderVolume[]): Promise<ImportFinding[]> {
  const found: ImportFinding[] = [];
  for (const volume of volumes) if (volume.cachedImageId !== null) found.push(await cacheImage(caching, volume));
  return found;
}

async function cacheImage(
  { cache, findings, dryRun, caller, signal }: Caching,
  { volumeId, projectId, sizeBytes, cachedImageId }: CinderVolume,
): Promise<ImportFinding> {
  const imageId = cachedImageId ?? '';
  const finding = (action: ImportFinding['action'], reason: string | null): ImportFinding => ({
    kind: 'cached-image',
    object: imageId,
    name: `volume ${volumeId}`,
    projectId,
    bytes: sizeBytes,
    action,
    reason,
  });
  const ofVolume = findings.find(({ kind, object }) => kind === 'volume' && object === volumeId);
  if (ofVolume?.action === 'refused')
    return finding('refused', `its volume ${volumeId} is not taken over: ${ofVolume.reason}`);
  if (dryRun) return finding(ofVolume?.action === 'present' ? 'present' : 'would-take', null);
  try {
    const { result } = await seedCache<{ signal?: AbortSignal }>(cache, { imageId, volumeId, ...caller }, { signal });
    if (result.outcome === 'populated') return finding('taken', null);
    return finding(result.outcome === 'ready' ? 'present' : 'refused', result.summary);
  } catch (error) {
    if (!(error instanceof ImageVolumeCacheError) || error.type === 'WaitInterrupted') throw error;
    return finding('refused', error.message);
  }
}

/**
 * Gives back what was taken over to a backend, and types and quotas, as far as it is as it was then: Cinder finds it as it left it.
 * @throws ImageVolumeCacheError `InvalidRequest`, `BackendNotFound`, `TemporalUnavailable`, `WaitInterrupted`.
 */
export async function revertImport<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: RevertImportInput,
  options: Options,
): Promise<Ran<RevertImportResult, Options>> {
  const request = {
    type: workflowTypes.revertImport,
    workflowId: cache.queues.ids.revertImport(backendOf(cache, input.backend) ?? ('default' as BackendName)),
    conflict: 'FAIL',
    input,
    summary: input.dryRun === true ? 'look at what can be given back' : 'give back what was taken over',
  } as const;
  return await runWorkflow<RevertImportResult, Options>(cache, request, { options });
}
