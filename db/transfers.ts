import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import type { EventKind } from '../workflows/contract/event-kinds';
import type { ProjectId, TransferId, VolumeId } from '../workflows/contract/ids';
import type { HeldStatus, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import type { OverQuota } from './room';
import { findEventOfRun, snapshotEventsOf, volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { snapshots, transfers, type SnapshotRow, type TransferRow, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, inTransaction, query, readRows, readTable, runStatement, type Queryable } from './statement';
import { lockVolume } from './volumes';

export type OfferOutcome =
  | { kind: 'volume-absent' }
  | { kind: 'not-available'; state: VolumeState | HeldStatus }
  /** Why its snapshots stand in the way, as the end of a sentence. */
  | { kind: 'snapshots'; problem: string }
  /** There is another transfer of this id. */
  | { kind: 'conflict' }
  | { kind: 'offered'; transfer: TransferRow };

/** Offers an available volume, which is `awaiting-transfer` from here on, with its event. Repeated it is `offered` again. Undo: `endOffer`. */
export function offerVolume(
  database: Database,
  {
    transferId,
    volumeId,
    scope,
    name,
    keyHash,
    noSnapshots,
    source,
  }: {
    transferId: TransferId;
    volumeId: VolumeId;
    scope: ProjectScope;
    name: string | null;
    keyHash: string;
    noSnapshots: boolean;
    source: EventSource;
  },
): Promise<OfferOutcome> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope });
    if (volume === undefined || volume.state === 'deleted') return { kind: 'volume-absent' };
    const existing = await findTransfer(transaction, { transferId, scope });
    if (existing !== undefined)
      return existing.volumeId === volumeId ? { kind: 'offered', transfer: existing } : { kind: 'conflict' };
    if (volume.state !== 'available') return { kind: 'not-available', state: volume.state };
    if (volume.status !== null || volume.attachedTo !== null)
      return { kind: 'not-available', state: volume.status ?? 'in-use' };
    const problem = await problemOfSnapshots(transaction, { volumeId, noSnapshots });
    if (problem !== undefined) return { kind: 'snapshots', problem };
    await markOffered(transaction, { transferId, volumeId, source });
    const [transfer] = await readTable(
      transaction,
      transfers,
      (columns) => sql`insert into transfers (id, volume_id, project_id, name, key_hash, no_snapshots)
        values (${transferId}, ${volumeId}, ${volume.projectId}, ${name}, ${keyHash}, ${noSnapshots})
        on conflict (id) do nothing returning ${columns}`,
    );
    // Another project has one of this id: the transaction is given up.
    if (transfer === undefined) throw new Error(`transfer ${transferId} is another's`);
    return { kind: 'offered', transfer };
  });
}

async function markOffered(
  on: Queryable,
  { transferId, volumeId, source }: { transferId: TransferId; volumeId: VolumeId; source: EventSource },
): Promise<void> {
  await runStatement(
    on,
    sql`with changed as (
        update volumes set status = 'awaiting-transfer', updated_at = now() where id = ${volumeId} returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind: 'volume.offered', detail: { transferId }, ...source })}`,
  );
}

async function problemOfSnapshots(
  on: Queryable,
  { volumeId, noSnapshots }: { volumeId: VolumeId; noSnapshots: boolean },
): Promise<string | undefined> {
  const found = await snapshotsThere(on, volumeId);
  const [first] = found;
  if (first === undefined) return undefined;
  if (noSnapshots) return `it has snapshots, which it cannot leave behind, such as ${first.id}`;
  const other = found.find(({ state, sharedImageId }) => state !== 'available' || sharedImageId !== null);
  if (other === undefined) return undefined;
  return `its snapshot ${other.id} is ${other.state === 'available' ? 'shared with other projects' : other.state}`;
}

async function snapshotsThere(on: Queryable, volumeId: VolumeId): Promise<SnapshotRow[]> {
  const where = and(eq(snapshots.volumeId, volumeId), sql`${snapshots.state} <> 'deleted'`);
  return await query(on, (orm) => orm.select().from(snapshots).where(where));
}

export type AcceptOutcome =
  | { kind: 'absent' | 'wrong-key' }
  | { kind: 'not-offered'; volumeId: VolumeId; state: VolumeState | HeldStatus }
  | { kind: 'snapshots'; volumeId: VolumeId; problem: string }
  | (OverQuota & { projectId: ProjectId })
  | { kind: 'accepted'; transfer: EndedOffer };

/** An offer that is no more. */
export type EndedOffer = Pick<TransferRow, 'id' | 'volumeId' | 'name' | 'projectId'>;

/**
 * Gives a volume that was offered, and its snapshots, to a project, with their events, in one transaction with that project's quotas: the offer is gone
 * after it. Repeated by the same run it is `accepted` again.
 */
export function acceptOffer(
  database: Database,
  {
    transferId,
    keyHash,
    projectId,
    source,
  }: { transferId: TransferId; keyHash: string; projectId: ProjectId; source: EventSource },
): Promise<AcceptOutcome> {
  return inTransaction(database, async (transaction) => {
    const transfer = await findTransfer(transaction, { transferId, scope: 'all projects' });
    if (transfer === undefined) return await acceptedBefore(transaction, { transferId, source });
    if (transfer.keyHash !== keyHash) return { kind: 'wrong-key' };
    const { volumeId } = transfer;
    const volume = await lockVolume(transaction, { volumeId, scope: 'all projects' });
    // Locked the row after another had accepted or ended it.
    if (volume === undefined || (await findTransfer(transaction, { transferId, scope: 'all projects' })) === undefined)
      return await acceptedBefore(transaction, { transferId, source });
    if (volume.state !== 'available' || volume.status !== 'awaiting-transfer')
      return { kind: 'not-offered', volumeId, state: volume.status ?? volume.state };
    const problem = await problemOfSnapshots(transaction, { volumeId, noSnapshots: transfer.noSnapshots });
    if (problem !== undefined) return { kind: 'snapshots', volumeId, problem };
    if (projectId !== volume.projectId) {
      const overQuota = await quotaOf(transaction, { projectId, volume });
      if (overQuota !== null) return { kind: 'over-quota', projectId, ...overQuota };
    }
    await moveVolume(transaction, { transfer, projectId, source });
    return { kind: 'accepted', transfer };
  });
}

async function acceptedBefore(
  on: Queryable,
  { transferId, source }: { transferId: TransferId; source: EventSource },
): Promise<AcceptOutcome> {
  const transfer = await findInEvents(on, { transferId, kind: 'volume.transferred', source });
  return transfer === undefined ? { kind: 'absent' } : { kind: 'accepted', transfer };
}

/** A lost reply costs nothing. @returns the offer of which this very run has said so. */
async function findInEvents(
  on: Queryable,
  { transferId, kind, source }: { transferId: TransferId; kind: EventKind; source: EventSource },
): Promise<EndedOffer | undefined> {
  const found = await findEventOfRun(on, { kind, source });
  if (found === undefined || found.volumeId === null) return undefined;
  const { volumeId, detail } = found;
  const name = typeof detail['transferName'] === 'string' ? detail['transferName'] : null;
  return { id: transferId, volumeId, name, projectId: String(detail['from']) as ProjectId };
}

/** @returns the quota of the project that does not allow the volume or its snapshots; null where all do. Takes its turn with the project's creates. */
async function quotaOf(
  on: Queryable,
  { projectId, volume }: { projectId: ProjectId; volume: VolumeRow },
): Promise<Omit<OverQuota, 'kind'> | null> {
  const [row] = await readRows(
    on,
    { overQuota: cast.json<Omit<OverQuota, 'kind'> | null>(sql`over_quota`) },
    (columns) => sql`select ${columns} from (
        select transfer_quota_room(${projectId}, ${volume.id}::uuid) as over_quota
      ) room`,
  );
  return row?.overQuota ?? null;
}

async function moveVolume(
  on: Queryable,
  {
    transfer: { id: transferId, volumeId, projectId: from, name },
    projectId,
    source,
  }: { transfer: TransferRow; projectId: ProjectId; source: EventSource },
): Promise<void> {
  const detail = { transferId, from, to: projectId };
  await runStatement(on, sql`delete from transfers where id = ${transferId}`);
  await runStatement(
    on,
    sql`with changed as (
        update snapshots set project_id = ${projectId}, requested_by = ${source.by ?? null}, updated_at = now()
        where volume_id = ${volumeId} and state <> 'deleted' returning *
      ) ${snapshotEventsOf('changed', { kind: 'snapshot.changed', detail, ...source })}`,
  );
  await runStatement(
    on,
    sql`with changed as (
        update volumes set project_id = ${projectId}, requested_by = ${source.by ?? null}, status = null, updated_at = now()
        where id = ${volumeId} returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind: 'volume.transferred', detail: { ...detail, transferName: name }, ...source })}`,
  );
}

/** Ends an offer, with its event: its volume is available again. Idempotent. @returns the offer that there was; undefined: none. */
export function endOffer(
  database: Database,
  { transferId, scope, source }: { transferId: TransferId; scope: ProjectScope; source: EventSource },
): Promise<EndedOffer | undefined> {
  return inTransaction(database, async (transaction) => {
    const transfer = await findTransfer(transaction, { transferId, scope });
    if (transfer === undefined)
      return await findInEvents(transaction, { transferId, kind: 'volume.offer-ended', source });
    const { volumeId } = transfer;
    await lockVolume(transaction, { volumeId, scope: 'all projects' });
    if ((await runStatement(transaction, sql`delete from transfers where id = ${transferId}`)) === 0) return undefined;
    await markNotOffered(transaction, { transfer, source });
    return transfer;
  });
}

async function markNotOffered(
  on: Queryable,
  { transfer, source }: { transfer: TransferRow; source: EventSource },
): Promise<void> {
  const { id: transferId, volumeId, projectId: from, name: transferName } = transfer;
  const detail = { transferId, from, transferName };
  await runStatement(
    on,
    sql`with changed as (
        update volumes set status = nullif(status, 'awaiting-transfer'), updated_at = now() where id = ${volumeId} returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind: 'volume.offer-ended', detail, ...source })}`,
  );
}

/** @returns an offer of the scope. */
export async function findTransfer(
  database: Queryable,
  { transferId, scope }: { transferId: TransferId; scope: ProjectScope },
): Promise<TransferRow | undefined> {
  const where = and(eq(transfers.id, transferId), isInScope(transfers.projectId, scope));
  const [row] = await query(database, (orm) => orm.select().from(transfers).where(where));
  return row;
}

/** @returns the scope's offers, the oldest first as Cinder lists them, after `afterId` in that order. */
export function selectTransfers(
  database: Database,
  {
    scope,
    name,
    volumeId,
    limit,
    offset = 0,
    afterId,
  }: {
    scope: ProjectScope;
    name?: string;
    volumeId?: VolumeId;
    limit: number;
    offset?: number;
    afterId?: TransferId;
  },
): Promise<TransferRow[]> {
  const following: SQL | undefined =
    afterId &&
    sql`(created_at, id) > ((select created_at from transfers t where t.id = ${afterId} and ${isInScope(sql`t.project_id`, scope)}), ${afterId}::uuid)`;
  const where = and(
    isInScope(transfers.projectId, scope),
    name === undefined ? undefined : eq(transfers.name, name),
    volumeId === undefined ? undefined : eq(transfers.volumeId, volumeId),
    following,
  );
  return query(database, (orm) =>
    orm.select().from(transfers).where(where).orderBy(transfers.createdAt, transfers.id).limit(limit).offset(offset),
  );
}
