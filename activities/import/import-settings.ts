import { markGivenBack, markTaken, noteImports, readImports } from '../../db/imports';
import { readSetQuotas, writeQuotas } from '../../db/quotas';
import type { ImportRow } from '../../db/schema';
import type { EventSource } from '../../db/events';
import { deleteVolumeType, findVolumeType, insertVolumeType } from '../../db/volume-types';
import { GiB } from '../../workflows/contract/bytes';
import type { CinderProjectQuota, CinderVolumeType, ImportFinding } from '../../workflows/contract/cinder-import';
import { uuidPattern, type ProjectId } from '../../workflows/contract/ids';
import type { KeptQuotaName, QuotaName } from '../../workflows/contract/quotas';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';
import { parseImport, parseRevert, type ImportOrder } from './import-request';
import { notedImports } from './noted-imports';

/** Cinder's names of its quotas. The others are of its types and of things that are not there here. */
const quotas: Record<string, { quota: QuotaName | KeptQuotaName; unit: number }> = {
  volumes: { quota: 'volumes', unit: 1 },
  snapshots: { quota: 'snapshots', unit: 1 },
  gigabytes: { quota: 'bytes', unit: GiB },
  per_volume_gigabytes: { quota: 'volumeBytes', unit: GiB },
  backups: { quota: 'backups', unit: 1 },
  backup_gigabytes: { quota: 'backupBytes', unit: GiB },
  groups: { quota: 'groups', unit: 1 },
};

/**
 * Takes Cinder's volume types and the quotas of its projects over, in the inventory. Idempotent: those alike are `present`. Undo: `giveBackSettings`.
 * @throws InvalidRequest, BackendNotFound (final).
 */
export function createImportSettings(deps: ControlDependencies) {
  return async function importSettings(input: unknown): Promise<ImportFinding[]> {
    const order = parseImport(deps, input);
    const { by, requestId } = order;
    const run: SettingsRun = { deps, order, source: { by, requestId, ...workflowExecution() } };
    const findings: ImportFinding[] = [];
    for (const type of order.types) findings.push(await importType(run, type));
    for (const projectId of new Set(order.quotas.map((quota) => quota.projectId))) {
      const own = order.quotas.filter((quota) => quota.projectId === projectId);
      findings.push(...(await importQuotas(run, projectId as ProjectId, own)));
    }
    return findings;
  };
}

interface SettingsRun {
  deps: ControlDependencies;
  order: ImportOrder;
  source: EventSource;
}

async function importType({ deps, order, source }: SettingsRun, type: CinderVolumeType): Promise<ImportFinding> {
  const { volumeTypeId: id, name, qosSpecsId, projects, ...settings } = type;
  const finding = (action: ImportFinding['action'], reason: string | null): ImportFinding => ({
    kind: 'type',
    object: id,
    name,
    projectId: null,
    bytes: null,
    action,
    reason,
  });
  const unkept = qosSpecsId === null ? null : `without its quality of service ${qosSpecsId}, which nothing here heeds`;
  // It is here as well, whatever it is called in Cinder's list.
  if (name === NO_TYPE) return finding('present', unkept);
  if (!uuidPattern.test(id)) return finding('refused', 'its id is no UUID');
  if (Object.hasOwn(deps.config.volumeTypes, name))
    return finding('refused', 'the configuration has a type of its name');
  const there = (await findVolumeType(deps.database, id)) ?? (await findVolumeType(deps.database, name));
  const note = (await readImports(deps.database, { kind: 'type', objects: [id] })).get(id);
  // Another try of this run finds what one before has made.
  const isOwn = isOfRun(note, source);
  if (there?.id === id && there.name === name) {
    if (isOwn) await markTaken(deps.database, { kind: 'type', objects: [id] });
    return finding(isOwn ? 'taken' : 'present', unkept);
  }
  if (there !== undefined) return finding('refused', `type ${there.id} is called ${there.name} here`);
  if (order.dryRun) return finding('would-take', unkept);
  const objects = [{ kind: 'type' as const, object: id, backend: null, source: order.source, detail: { name } }];
  await noteImports(deps.database, { objects, runId: source.runId });
  const change = { ...settings, addProjects: projects };
  const outcome = await insertVolumeType(deps.database, { id, name, change, source });
  if (outcome.kind !== 'done') return finding('refused', 'a type of its name was made meanwhile');
  await markTaken(deps.database, { kind: 'type', objects: [id] });
  return finding('taken', unkept);
}

/** Whether a run has taken over, or has begun to, what a note is of. */
function isOfRun(note: ImportRow | undefined, { runId }: EventSource): boolean {
  return note?.runId === runId && note.state !== 'given-back';
}

/** One after the other what one project has, in one step: an event tells of all of it. */
async function importQuotas(
  run: SettingsRun,
  projectId: ProjectId,
  given: CinderProjectQuota[],
): Promise<ImportFinding[]> {
  const { deps, order, source } = run;
  const set = await readSetQuotas(deps.database, projectId);
  const objects = given.map(({ resource }) => `${projectId}/${resource}`);
  const known = await readImports(deps.database, { kind: 'quota', objects });
  const isOwn = (object: string): boolean => isOfRun(known.get(object), source);
  const planned = given.map((quota) => ({
    ...quota,
    object: `${projectId}/${quota.resource}`,
    ...planQuota(set, quota),
  }));
  const taking = order.dryRun ? [] : planned.filter(({ action }) => action === 'would-take');
  const notes = taking.map(({ object, quota, most }) => ({
    kind: 'quota' as const,
    object,
    backend: null,
    source: order.source,
    detail: { projectId, quota, most },
  }));
  await noteImports(deps.database, { objects: notes, runId: source.runId });
  if (taking.length > 0) {
    const wanted = Object.fromEntries(taking.map(({ quota, most }) => [quota, most]));
    await writeQuotas(deps.database, { projectId, quotas: wanted, by: order.by ?? source.workflowId, source });
    await markTaken(deps.database, { kind: 'quota', objects: notes.map(({ object }) => object) });
  }
  return planned.map(({ object, resource, limit, action, reason }) => ({
    kind: 'quota',
    object,
    name: `${resource} ${limit}`,
    projectId,
    bytes: null,
    action: (action === 'would-take' && !order.dryRun) || (action === 'present' && isOwn(object)) ? 'taken' : action,
    reason,
  }));
}

interface QuotaPlan {
  action: 'would-take' | 'present' | 'refused';
  reason: string | null;
  quota?: QuotaName | KeptQuotaName;
  most?: number | null;
}

function planQuota(set: Awaited<ReturnType<typeof readSetQuotas>>, { resource, limit }: CinderProjectQuota): QuotaPlan {
  const known = Object.hasOwn(quotas, resource) ? quotas[resource] : undefined;
  if (known === undefined) return { action: 'refused', reason: `quotas of ${resource} are not taken over` };
  const { quota, unit } = known;
  const most = limit < 0 ? null : limit * unit;
  const found = set.find((row) => row.quota === quota);
  if (found === undefined) return { action: 'would-take', reason: null, quota, most };
  if (found.most === most) return { action: 'present', reason: null };
  return { action: 'refused', reason: `${found.setBy} has set it to ${found.most ?? 'no limit'}` };
}

/** Gives types and quotas back that were taken over and are as they were then: those that volumes have stay. Idempotent. @throws InvalidRequest (final). */
export function createGiveBackSettings(deps: ControlDependencies) {
  return async function giveBackSettings(input: unknown): Promise<ImportFinding[]> {
    const { dryRun, by, requestId, source: ofSource } = parseRevert(deps, input);
    const source = { by, requestId, ...workflowExecution() };
    const findings: ImportFinding[] = [];
    const giving = { deps, dryRun, source };
    for await (const note of notedImports(deps, { kind: 'type', backend: null, source: ofSource }))
      findings.push(await giveTypeBack(giving, note));
    const ofQuotas: ImportRow[] = [];
    for await (const note of notedImports(deps, { kind: 'quota', backend: null, source: ofSource }))
      ofQuotas.push(note);
    for (const projectId of new Set(ofQuotas.map(({ detail }) => detail.projectId ?? ''))) {
      const own = ofQuotas.filter(({ detail }) => detail.projectId === projectId);
      findings.push(...(await giveQuotasBack(giving, projectId as ProjectId, own)));
    }
    return findings;
  };
}

interface GivingBack {
  deps: ControlDependencies;
  dryRun: boolean;
  source: EventSource;
}

async function giveTypeBack(
  { deps, dryRun, source }: GivingBack,
  { object, state, detail }: ImportRow,
): Promise<ImportFinding> {
  const { database } = deps;
  const { runId } = source;
  const type = await findVolumeType(database, object);
  const finding = (action: ImportFinding['action'], reason: string | null): ImportFinding => ({
    kind: 'type',
    object,
    name: detail.name ?? null,
    projectId: null,
    bytes: null,
    action,
    reason,
  });
  if (state === 'given-back') return finding('given-back', null);
  if (type !== undefined && type.updatedAt !== null) return finding('refused', 'it was changed since');
  if (dryRun) return finding('would-give-back', null);
  const outcome = await deleteVolumeType(database, { id: object, source });
  if (outcome.kind === 'in-use') return finding('refused', 'volumes have it');
  await markGivenBack(database, { kind: 'type', objects: [object], runId });
  return finding('given-back', null);
}

async function giveQuotasBack(
  { deps, dryRun, source }: GivingBack,
  projectId: ProjectId,
  notes: ImportRow[],
): Promise<ImportFinding[]> {
  const set = await readSetQuotas(deps.database, projectId);
  const planned = notes.map(({ object, state, detail: { quota, most } }) => {
    const found = set.find((row) => row.quota === quota);
    const isChanged = state !== 'given-back' && found !== undefined && found.most !== most;
    return { object, quota, isSet: state !== 'given-back' && found !== undefined, isChanged };
  });
  const given = planned.filter(({ isChanged }) => !isChanged);
  if (!dryRun && given.length > 0) {
    const unset = given.flatMap(({ quota, isSet }) =>
      isSet && quota !== undefined ? [[quota, 'default'] as const] : [],
    );
    if (unset.length > 0)
      await writeQuotas(deps.database, {
        projectId,
        quotas: Object.fromEntries(unset),
        by: source.by ?? source.workflowId,
        source,
      });
    await markGivenBack(deps.database, {
      kind: 'quota',
      objects: given.map(({ object }) => object),
      runId: source.runId,
    });
  }
  return planned.map(({ object, quota, isChanged }) => ({
    kind: 'quota',
    object,
    name: quota ?? null,
    projectId,
    bytes: null,
    action: isChanged ? 'refused' : dryRun ? 'would-give-back' : 'given-back',
    reason: isChanged ? 'it was changed since' : null,
  }));
}
