import { findEntry } from '../../db/entries/entries';
import { retireEntry } from '../../db/entries/retirement';
import { beginGivingBack, markGivenBack } from '../../db/imports';
import type { ImportRow } from '../../db/schema';
import type { ImportFinding } from '../../workflows/contract/cinder-import';
import type { BackendName, EntryId, VolumeId } from '../../workflows/contract/ids';
import type { VolumeBackend } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { plural } from '../../workflows/contract/words';
import { backendHeld } from '../kit/backend-held';
import { deleteEntry } from '../kit/delete-entry';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';
import { parseRevert, type RevertOrder } from './import-request';
import { notedImports } from './noted-imports';

/**
 * Gives the volumes back that were taken over to a backend, with their snapshots, as far as neither they nor their bytes have changed since. On the backend's
 * queue. Heartbeats. Idempotent, and goes on where a killed call has ended.
 * @throws InvalidRequest, BackendNotFound, ForeignObject (final); BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createGiveBackVolumes(deps: BackendDependencies, name: BackendName) {
  return async function giveBackVolumes(input: unknown): Promise<ImportFinding[]> {
    const order = parseRevert(deps, input);
    const backend = backendHeld(deps, name);
    const first = { stage: 'undoing', summary: 'giving volumes back' } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const giving = { deps, backend, order };
      const findings: ImportFinding[] = [];
      // A cached image is a clone of a volume, which goes after it.
      for (const kind of ['cached-image', 'volume'] as const)
        for await (const note of notedImports(deps, { kind, backend: name, source: order.source })) {
          reporter.signal.throwIfAborted();
          reporter.report({ ...first, summary: `giving ${kind} ${note.object} back` });
          findings.push(await (kind === 'volume' ? giveBack : evictClone)(giving, note));
        }
      return findings;
    });
  };
}

interface GivingVolumes {
  deps: BackendDependencies;
  backend: VolumeBackend;
  order: RevertOrder;
}

/** Deletes the image-volume that is a clone of a volume that was taken over, unless volumes need it. */
async function evictClone(
  { deps, backend, order }: GivingVolumes,
  { object, detail, state }: ImportRow,
): Promise<ImportFinding> {
  const entryId = object as EntryId;
  const { database } = deps;
  const entry = await findEntry(database, { entryId });
  const isThere = entry !== undefined && entry.state !== 'gone';
  const finding = (action: ImportFinding['action'], reason: string | null): ImportFinding => ({
    kind: 'cached-image',
    object,
    name: `image ${detail.cachedImageId}`,
    projectId: null,
    bytes: isThere ? entry.realBytes : null,
    action,
    reason,
  });
  // By an earlier try of this run.
  if (state === 'given-back') return finding('given-back', null);
  if (isThere && entry.clones > 0) return finding('refused', `${plural(entry.clones, 'volume')} or snapshots need it`);
  if (order.dryRun) return finding('would-give-back', null);
  const { workflowId, runId } = workflowExecution();
  if (isThere) {
    const retired = await retireEntry(database, { entryId, reason: 'requested', workflowId });
    if (retired.kind === 'leased') return finding('refused', 'a volume is being made of it');
    const { kind } = await deleteEntry(deps, backend, { entryId, workflowId });
    if (kind !== 'gone') return finding('refused', 'volumes need it, and it is deleted with the last of them');
  }
  await markGivenBack(database, { kind: 'cached-image', objects: [object], runId });
  return finding('given-back', null);
}

async function giveBack(
  { deps, backend, order }: GivingVolumes,
  { object, detail, state }: ImportRow,
): Promise<ImportFinding> {
  const volumeId = object as VolumeId;
  const { dryRun, by, requestId } = order;
  const found = await backend.describeForeign?.(volumeId);
  const there = found?.kind === 'present' ? found : undefined;
  const finding = (action: ImportFinding['action'], reason: string | null): ImportFinding => ({
    kind: 'volume',
    object,
    name: detail.name ?? null,
    projectId: detail.projectId ?? null,
    bytes: detail.bytes ?? null,
    action,
    reason,
  });
  if (state === 'given-back') return finding('given-back', null);
  if (there !== undefined && detail.modifiedAt !== undefined && there.modifiedAt > new Date(detail.modifiedAt))
    return finding('refused', `its bytes were written since, last at ${there.modifiedAt.toISOString()}`);
  const source = { by, requestId, ...workflowExecution() };
  const outcome = await beginGivingBack(deps.database, { volumeId, dryRun, source });
  if (outcome.kind === 'changed') return finding('refused', outcome.reason);
  if (dryRun) return finding('would-give-back', null);
  const { snapshotIds } = outcome;
  const { runId } = source;
  await backend.ensureGivenBack?.({ volumeId, snapshotIds });
  await markGivenBack(deps.database, { kind: 'snapshot', objects: snapshotIds, runId });
  await markGivenBack(deps.database, { kind: 'volume', objects: [object], runId });
  return finding('given-back', null);
}
