import { connectDatabase, type Database } from '../db/client';
import { readPeriodUntilNow } from '../db/clock';
import { findAttachment, listAttachmentsOf, selectAttachments } from '../db/attachments';
import { listBackends } from '../db/backends';
import { findInternalTenant, findNamespace } from '../db/installation';
import { readOtherQuotas, readQuotaClass, readTypeUsage, selectQuotas, type TypeUsage } from '../db/quotas';
import { findEntry, listEntries, listEntryImages, readSums } from '../db/entries/entries';
import { listEntryEvents } from '../db/entries/entry-events';
import { listEvents } from '../db/events';
import { findMessage, selectMessages, type MessageQuery } from '../db/messages';
import { withFacts } from '../db/evictions/eviction-view';
import { listRefusals } from '../db/flights';
import { selectFollows } from '../db/follows/follows';
import { listDecisions, summarizeDecisions } from '../db/report/decisions';
import * as report from '../db/report/report';
import type * as schemaAge from '../db/schema-age';
import { scopeOf } from '../db/scope';
import { findSnapshot, selectSnapshots } from '../db/snapshots';
import { findTransfer, selectTransfers } from '../db/transfers';
import { describeUnreachable, isUnreachable } from '../db/unreachable';
import { isImageRecorded } from '../db/held-uploads';
import { readReimaging } from '../db/reimages';
import { findVolume, readVolumes } from '../db/volumes';
import { selectDefaultTypes, selectVolumeTypes } from '../db/volume-types';
import {
  selectVolumes,
  readProjectTotals,
  totalVolumes,
  type ProjectTotals,
  type StatusCondition,
  type TimeCondition,
  type VolumeTotals,
} from '../db/volume-lists';
import type { AttachmentStatus } from '../workflows/contract/attachment';
import type {
  BackendName,
  EntryId,
  ImageId,
  ProjectId,
  SnapshotId,
  TransferId,
  VolumeId,
} from '../workflows/contract/ids';
import { Failure } from '../workflows/contract/failures';
import type { KeptQuotaName, SetQuotasResult, TypeQuotaName } from '../workflows/contract/quotas';
import type { HeldSnapshotStatus, SnapshotSort, SnapshotState } from '../workflows/contract/snapshot';
import type { VolumeSort } from '../workflows/contract/volume-changes';
import type { VolumeState } from '../workflows/contract/volume';
import { failureError, ImageVolumeCacheError, toClientError } from './errors';
import {
  toAttachment,
  toAuditEvent,
  toBackendStatus,
  toCacheEntry,
  toDecision,
  toDecisionSummary,
  toEntryEvent,
  toFollow,
  toImageVolume,
  toMessage,
  toProjectQuotas,
  toRefusal,
  toSnapshot,
  toTransfer,
  toVolume,
} from './inventory-rows';
import type {
  Attachment,
  AuditEvent,
  BackendStatus,
  CacheEntry,
  CacheEntryState,
  Decision,
  DecisionSummary,
  EntryEvent,
  Follow,
  Message,
  ImageVolume,
  ProjectQuotas,
  Refusal,
  Snapshot,
  Transfer,
  Volume,
  DefaultType,
  VolumeType,
} from './records';
import { chooseBucketMs, toBuckets, toTotals, type Report, type ReportFilter } from './report';
import { missing, type Settings } from './settings';
import { type BackendRow, type EntryRow, type VolumeRow } from '../db/schema';

/** Whose volumes a verb reaches. */
export interface OfProject {
  /** Only this project's: another's is not found, as what never was. Default, for operators: any project's. */
  projectId?: string;
}

export interface VolumeFilter extends OfProject {
  backend?: string;
  /** Default: all but `deleted`. */
  state?: VolumeState;
  imageId?: string;
  /** The whole name. */
  name?: string;
  /** The whole name, or the beginning of the id. */
  called?: string;
  bootable?: boolean;
  /** Those that have all of it. */
  metadata?: Record<string, string>;
  /** As `metadata`, of what is known of the image. */
  imageMetadata?: Record<string, string>;
  /** Those of one of them: none without any. */
  statuses?: readonly StatusCondition[];
  /** A part of the name. */
  nameContains?: string;
  /** Rounded up. */
  sizeGiB?: number;
  createdAt?: readonly TimeCondition[];
  updatedAt?: readonly TimeCondition[];
  /** The first one counts first. Default: the newest first. */
  sort?: VolumeSort | readonly VolumeSort[];
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
  /** So many of them are left out. */
  offset?: number;
  /** A volume's id: those that follow it. */
  after?: string;
}
export type VolumeCondition = Omit<VolumeFilter, 'sort' | 'limit' | 'offset' | 'after'>;
export type { ProjectTotals, StatusCondition, TimeCondition, VolumeTotals };

export interface AttachmentFilter extends OfProject {
  volumeId?: string;
  instanceId?: string;
  status?: AttachmentStatus;
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
  /** So many of them are left out. */
  offset?: number;
  /** An attachment's id: those that follow it. */
  after?: string;
}
export interface SnapshotFilter extends OfProject {
  backend?: string;
  /** Only of this volume. */
  volumeId?: string;
  /** The whole name, or the beginning of the id. */
  called?: string;
  /** The whole name. */
  name?: string;
  /** Default: all but `deleted`. */
  state?: SnapshotState;
  /** The status that an available one was given; null: none. */
  status?: HeldSnapshotStatus | null;
  /** Those that have all of it. */
  metadata?: Record<string, string>;
  /** Default: the newest first. */
  sort?: SnapshotSort;
  /** How many are passed over. */
  offset?: number;
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
  /** A snapshot's id: those that follow it. */
  after?: string;
}
export interface MessageFilter extends OfProject, Omit<MessageQuery, 'scope' | 'limit'> {
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
}

export interface TransferFilter extends OfProject {
  name?: string;
  volumeId?: string;
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
  offset?: number;
  /** An offer's id: those that follow it. */
  after?: string;
}
export interface EntryFilter {
  backend?: string;
  /** Default: all but `gone`. */
  state?: CacheEntryState;
  /** The name of its image-volume, or the beginning of its id. */
  called?: string;
  limit?: number;
  /** An entry's id: those that follow it. */
  after?: string;
}
export interface DecisionFilter {
  volumeId?: string;
  entryId?: string;
  backend?: string;
  limit?: number;
}

export interface EventFilter extends OfProject {
  volumeId?: string;
  imageId?: string;
  entryId?: string;
  backend?: string;
  /** Such as `volume.deleted`; `volume` for all that begin with it. */
  kind?: string;
  /** As the caller gave it. */
  requestId?: string;
  /** How far back, in milliseconds. Default: as far as events are kept. */
  withinMs?: number;
  limit?: number;
  /** An event's id: those that follow it. */
  after?: string;
}

/** The one reader of the database. Every call: @throws ImageVolumeCacheError `DatabaseUnavailable` */
export interface Inventory {
  /** @throws also when the database holds no inventory yet; `OtherVersion` for one from before this version. @returns false where it is a newer one's. */
  ping(): Promise<{ isOwnVersion: boolean }>;
  /** The Temporal namespace in which its runs are; undefined while no worker has started. */
  findNamespace(): Promise<{ name: string; id: string | undefined } | undefined>;
  /** Newest first. */
  listVolumes(filter?: VolumeFilter): Promise<Volume[]>;
  findVolume(volumeId: VolumeId, filter?: OfProject): Promise<Volume | undefined>;
  /** How many there are, and how large they are together. */
  totalVolumes(filter?: VolumeCondition & { withMetadata?: boolean }): Promise<VolumeTotals>;
  /** Totals of each project on a backend. */
  listProjectTotals(backend: string): Promise<ProjectTotals[]>;
  /** Of whatever project. */
  readVolumes(volumeIds: readonly VolumeId[]): Promise<Volume[]>;
  /** Newest first. */
  listAttachments(filter?: AttachmentFilter): Promise<Attachment[]>;
  findAttachment(attachmentId: string, filter?: OfProject): Promise<Attachment | undefined>;
  /** As `listEntries`, as volumes of the internal tenant: for operators. */
  listImageVolumes(filter?: EntryFilter): Promise<ImageVolume[]>;
  /** Of a project; else of all that have volumes or quotas of their own, by their ids, `after` one of them. */
  listQuotas(filter?: OfProject & { limit?: number; after?: string }): Promise<ProjectQuotas[]>;
  /** Of volume types, and what is kept for a project and limits nothing; a name that is not there was not set. */
  readOtherQuotas(projectId: string): Promise<Partial<Record<KeptQuotaName | TypeQuotaName, number | null>>>;
  /** Limits that were set for a class of quotas. */
  readQuotaClass(quotaClass: string): Promise<SetQuotasResult['set']>;
  /** Usage of volume types by a project; null: of volumes without one. */
  readTypeUsage(projectId: string, volumeTypes: readonly (string | null)[]): Promise<TypeUsage[]>;
  /** Newest first. */
  listSnapshots(filter?: SnapshotFilter): Promise<Snapshot[]>;
  findSnapshot(snapshotId: SnapshotId, filter?: OfProject): Promise<Snapshot | undefined>;
  /** Oldest first. */
  listTransfers(filter?: TransferFilter): Promise<Transfer[]>;
  findTransfer(transferId: TransferId, filter?: OfProject): Promise<Transfer | undefined>;
  /** The newest first. */
  listMessages(filter?: MessageFilter): Promise<Message[]>;
  findMessage(messageId: string, filter?: OfProject): Promise<Message | undefined>;
  /** Those that administrators have made, in that order. */
  listVolumeTypes(): Promise<VolumeType[]>;
  /** Which type the volumes of each project have that ask for none, by their projects' ids; a project that is not there has the configuration's. */
  listDefaultTypes(filter?: OfProject): Promise<DefaultType[]>;
  listEntries(filter?: EntryFilter): Promise<CacheEntry[]>;
  findEntry(entryId: EntryId): Promise<CacheEntry | undefined>;
  /** Whether an upload goes on that holds its volume, and the image service has the image's record. */
  isImageRecorded(imageId: ImageId): Promise<boolean>;
  /** The newest first. */
  listEntryEvents(filter: { entryId: EntryId; limit?: number }): Promise<EntryEvent[]>;
  listDecisions(filter?: DecisionFilter): Promise<Decision[]>;
  /** How creates ended, what happened to volumes and entries, and what operators did: the newest first. */
  listEvents(filter?: EventFilter): Promise<AuditEvent[]>;
  listFollows(filter?: { backend?: string; limit?: number }): Promise<Follow[]>;
  /** The newest first. */
  listRefusals(filter?: { backend?: string; limit?: number }): Promise<Refusal[]>;
  summarizeDecisions(period: { withinMs: number; backend?: string }): Promise<DecisionSummary>;
  listBackends(period?: { withinMs: number }): Promise<BackendStatus[]>;
  /** The report of a period: answers to creates, savings, and entries that left the cache. */
  readReport(filter: ReportFilter): Promise<Report>;
  close(): Promise<void>;
}

/** Rows of a list by default. */
const DEFAULT_LIMIT = 200;
const DEFAULT_PERIOD_MS = 24 * 3_600_000;
const MAX_CONNECTIONS = 4;

/** @throws ImageVolumeCacheError `NotConfigured` */
export async function openInventory(settings: Settings): Promise<Inventory> {
  const url = settings.databaseUrl ?? missing('database', 'DATABASE_URL', settings);
  const database = connectDatabase(url, {
    maxConnections: MAX_CONNECTIONS,
    applicationName: 'image-volume-cache client',
  });

  const summarize = async (period: { withinMs: number; backend?: string }): Promise<DecisionSummary> =>
    toDecisionSummary(await summarizeDecisions(database, branded(period)));

  const listCacheEntries = async ({ limit = DEFAULT_LIMIT, after, ...filter }: EntryFilter = {}) => {
    const afterId = after as EntryId | undefined;
    return await withEntryFacts(database, await listEntries(database, { ...branded(filter), limit, afterId }));
  };

  const where = { database, url };
  return reporting(where, {
    ping: async () => {
      await listBackends(database);
      const age = await schemaAges().readSchemaAge(database).catch(sameWhereRefused);
      if (age === 'older') throw new ImageVolumeCacheError(unfit.older);
      return { isOwnVersion: age !== 'newer' };
    },
    findNamespace: () => findNamespace(database),
    listVolumes: async ({ limit = DEFAULT_LIMIT, offset, after, sort, ...filter } = {}) => {
      const afterId = after as VolumeId | undefined;
      const query = { ...selectionOf(filter), sort, limit, offset, afterId };
      return await withUses(database, await selectVolumes(database, query));
    },
    totalVolumes: ({ withMetadata, ...filter } = {}) =>
      totalVolumes(database, { ...selectionOf(filter), withMetadata }),
    listProjectTotals: (backend) => readProjectTotals(database, { backend: backend as BackendName }),
    findVolume: async (volumeId, { projectId } = {}) => {
      const row = await findVolume(database, { volumeId, scope: scopeOf(projectId as ProjectId | undefined) });
      return (await withUses(database, row ? [row] : []))[0];
    },
    readVolumes: async (volumeIds) => await withUses(database, [...(await readVolumes(database, volumeIds)).values()]),
    listAttachments: async ({ limit = DEFAULT_LIMIT, after: afterId, projectId, ...filter } = {}) => {
      const scope = scopeOf(projectId as ProjectId | undefined);
      return (await selectAttachments(database, { ...branded(filter), scope, limit, afterId })).map(toAttachment);
    },
    findAttachment: async (attachmentId, { projectId } = {}) => {
      const row = await findAttachment(database, { attachmentId, scope: scopeOf(projectId as ProjectId | undefined) });
      return row && toAttachment(row);
    },
    listSnapshots: async ({ limit = DEFAULT_LIMIT, after, projectId, ...filter } = {}) => {
      const afterId = after as SnapshotId | undefined;
      const scope = scopeOf(projectId as ProjectId | undefined);
      return (await selectSnapshots(database, { ...branded(filter), scope, limit, afterId })).map(toSnapshot);
    },
    findSnapshot: async (snapshotId, { projectId } = {}) => {
      const row = await findSnapshot(database, { snapshotId, scope: scopeOf(projectId as ProjectId | undefined) });
      return row && toSnapshot(row);
    },
    listTransfers: async ({ limit = DEFAULT_LIMIT, after, projectId, ...filter } = {}) => {
      const afterId = after as TransferId | undefined;
      const scope = scopeOf(projectId as ProjectId | undefined);
      return (await selectTransfers(database, { ...branded(filter), scope, limit, afterId })).map(toTransfer);
    },
    findTransfer: async (transferId, { projectId } = {}) => {
      const row = await findTransfer(database, { transferId, scope: scopeOf(projectId as ProjectId | undefined) });
      return row && toTransfer(row);
    },
    listMessages: async ({ limit = DEFAULT_LIMIT, projectId, ...filter } = {}) => {
      const scope = scopeOf(projectId as ProjectId | undefined);
      return (await selectMessages(database, { ...filter, scope, limit })).map(toMessage);
    },
    findMessage: async (messageId, { projectId } = {}) => {
      const row = await findMessage(database, { messageId, scope: scopeOf(projectId as ProjectId | undefined) });
      return row && toMessage(row);
    },
    listVolumeTypes: async () =>
      (await selectVolumeTypes(database)).map(
        ({ id: volumeTypeId, createdAt: _at, updatedAt: _changedAt, ...type }) => ({ volumeTypeId, ...type }),
      ),
    listDefaultTypes: ({ projectId } = {}) =>
      selectDefaultTypes(database, { projectId: projectId as ProjectId | undefined }),
    listEntries: listCacheEntries,
    listImageVolumes: async (filter) => {
      const owner = (await findInternalTenant(database))?.projectId ?? null;
      return (await listCacheEntries(filter)).map((entry) => toImageVolume(entry, owner));
    },
    listQuotas: async ({ projectId, limit = DEFAULT_LIMIT, after } = {}) => {
      const scope = scopeOf(projectId as ProjectId | undefined);
      return (await selectQuotas(database, { scope, limit, after })).map(toProjectQuotas);
    },
    isImageRecorded: (imageId) => isImageRecorded(database, { imageId }),
    readOtherQuotas: (projectId) => readOtherQuotas(database, projectId as ProjectId),
    readQuotaClass: (quotaClass) => readQuotaClass(database, quotaClass),
    readTypeUsage: (projectId, volumeTypes) =>
      readTypeUsage(database, { projectId: projectId as ProjectId, volumeTypes }),
    findEntry: async (entryId) => {
      const row = await findEntry(database, { entryId });
      return (await withEntryFacts(database, row ? [row] : []))[0];
    },
    listEntryEvents: async ({ entryId, limit = DEFAULT_LIMIT }) =>
      (await listEntryEvents(database, { entryIds: [entryId], limit })).map(toEntryEvent),
    listDecisions: async ({ limit = DEFAULT_LIMIT, ...filter } = {}) =>
      (await listDecisions(database, { ...branded(filter), limit })).map(toDecision),
    listEvents: async ({ limit = DEFAULT_LIMIT, withinMs, imageId, projectId, ...filter } = {}) => {
      const scope = scopeOf(projectId as ProjectId | undefined);
      const since = withinMs === undefined ? undefined : (await readPeriodUntilNow(database, withinMs)).from;
      const query = { ...branded(filter), imageId: imageId as ImageId | undefined, scope, since, limit };
      return (await listEvents(database, query)).map(toAuditEvent);
    },
    listFollows: async ({ limit = DEFAULT_LIMIT, ...filter } = {}) =>
      (await selectFollows(database, { ...branded(filter), limit })).map(toFollow),
    listRefusals: async ({ limit = DEFAULT_LIMIT, ...filter } = {}) =>
      (await listRefusals(database, { ...branded(filter), limit })).map(toRefusal),
    summarizeDecisions: summarize,
    listBackends: async ({ withinMs } = { withinMs: DEFAULT_PERIOD_MS }) => {
      const status = async (row: BackendRow): Promise<BackendStatus> =>
        toBackendStatus(row, {
          sums: await readSums(database, { backend: row.name }),
          decisions: await summarize({ withinMs, backend: row.name }),
        });
      return await Promise.all((await listBackends(database)).map(status));
    },
    readReport: (filter) => readReport(database, filter),
    close: () => database.close(),
  });
}

interface Ids {
  backend?: BackendName;
  volumeId?: VolumeId;
  entryId?: EntryId;
}

/** Callers name things by plain strings. */
function branded<Filter extends { [Name in keyof Ids]?: string }>(filter: Filter): Omit<Filter, keyof Ids> & Ids {
  return filter as Omit<Filter, keyof Ids> & Ids;
}

function selectionOf({ projectId, imageId, ...filter }: VolumeCondition) {
  const scope = scopeOf(projectId as ProjectId | undefined);
  return { ...branded(filter), imageId: imageId as ImageId | undefined, scope };
}

/** A statement more for all of them, and another one where any of them is somebody's. */
async function withUses(database: Database, rows: VolumeRow[]): Promise<Volume[]> {
  const held = rows.filter(({ attachedTo }) => attachedTo !== null).map(({ id }) => id);
  const ready = rows.filter(({ state }) => state === 'available' || state === 'reimaging').map(({ id }) => id);
  const [attachments, reimaging] = await Promise.all([
    listAttachmentsOf(database, held),
    readReimaging(database, ready),
  ]);
  return rows.map((row) =>
    toVolume(row, {
      attachments: attachments.filter(({ volumeId }) => volumeId === row.id),
      isReimaging: reimaging.has(row.id),
    }),
  );
}

/** A few statements, whatever the number of rows. */
async function withEntryFacts(database: Database, rows: EntryRow[]): Promise<CacheEntry[]> {
  const images = await listEntryImages(database, { entryIds: rows.map(({ id }) => id) });
  const facts = await withFacts(database, rows);
  return facts.map(({ entry, ...known }) => toCacheEntry(entry, images, known));
}

async function readReport(database: Database, { withinMs, backend }: ReportFilter): Promise<Report> {
  const bucketMs = chooseBucketMs(withinMs);
  const { from, to } = await readPeriodUntilNow(database, withinMs);
  const period = { from, to, backend: backend as BackendName | undefined };
  const outcomes = await report.readOutcomes(database, { ...period, bucketMs });
  return {
    from: from.toISOString(),
    to: to.toISOString(),
    backend: backend ?? null,
    totals: toTotals(outcomes),
    buckets: toBuckets(outcomes, { fromMs: from.getTime(), toMs: to.getTime(), bucketMs }),
    bucketSeconds: bucketMs / 1000,
    reasons: await report.readReasons(database, period),
    stages: await report.readStages(database, period),
    expensiveMisses: (await report.readExpensiveMisses(database, period)).map(dated),
    images: await report.readImageUse(database, period),
    left: (await report.readEntriesLeft(database, period)).map(({ shortKey: _shortKey, ...entry }) => dated(entry)),
  };
}

function dated<Row extends { at: Date }>({ at, ...row }: Row) {
  return { at: at.toISOString(), ...row };
}

/** Every method of `inventory`, its failures as the library's error. */
function reporting(where: Where, inventory: Inventory): Inventory {
  const wrapped = Object.entries(inventory).map(
    ([name, method]: [string, (...args: unknown[]) => Promise<unknown>]) => [
      name,
      async (...args: unknown[]) => {
        try {
          return await method(...args);
        } catch (error) {
          throw await toInventoryError(where, error);
        }
      },
    ],
  );
  return Object.fromEntries(wrapped) as Inventory;
}

/** PostgreSQL's SQLSTATEs for what the schema does not have: a column, function, table, type. */
const UNKNOWN_TO_SCHEMA = /^(?:42703|42883|42P01|42704)$/;
/** PostgreSQL's SQLSTATE for what an account may not read. */
const NOT_GRANTED = '42501';

/** Loaded when the schema is in question: a list needs nothing of it. */
const schemaAges = (): typeof schemaAge => require('../db/schema-age');

/** A database whose schema is not this program's. */
const unfit = {
  none: {
    type: 'DatabaseUnavailable',
    message: 'the database holds no inventory yet: a worker creates it when it starts (`ivc up` or `ivc worker`)',
  },
  older: {
    type: 'OtherVersion',
    message:
      'the database was made by an older version than this program: a worker of this version brings it up to date when it starts (`ivc worker`; the stack of `ivc up`: `ivc down`, then `ivc up`)',
  },
  newer: {
    type: 'OtherVersion',
    message:
      'the database was brought up to date by a newer version than this program: install the version that its workers have',
  },
  unread: {
    type: 'OtherVersion',
    message:
      'the database was made by another version than this program: install the version that its workers have, or start workers of this one',
  },
} as const;

interface Where {
  database: Database;
  url: string;
}

/** An object that the schema lacks is told by the schema's age, an unreachable database by the key of the configuration. */
async function toInventoryError({ database, url }: Where, error: unknown): Promise<unknown> {
  if (isUnreachable(error)) {
    const { message, details } = failureError('DatabaseUnavailable', { cause: describeUnreachable(url, error) });
    return new ImageVolumeCacheError({ type: 'DatabaseUnavailable', message, details, cause: error });
  }
  const sqlState = sqlStateOf(error);
  if (sqlState === undefined || !UNKNOWN_TO_SCHEMA.test(sqlState)) return toClientError(error);
  const age = await schemaAges()
    .readSchemaAge(database)
    .catch(() => 'unread' as const);
  return age === 'same' ? toClientError(error) : new ImageVolumeCacheError({ ...unfit[age], cause: error });
}

/** An account that may not read which migrations there were can still read the inventory. */
function sameWhereRefused(error: unknown): 'same' {
  if (sqlStateOf(error) === NOT_GRANTED) return 'same';
  throw error;
}

function sqlStateOf(error: unknown): string | undefined {
  return error instanceof Failure && 'sqlState' in error.details ? error.details.sqlState : undefined;
}
