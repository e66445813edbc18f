import { connectDatabase, type Database } from '../db/client';
import { readPeriodUntilNow } from '../db/clock';
import { listBackends } from '../db/backends';
import { findNamespace } from '../db/installation';
import { findEntry, listEntries, listEntryImages, readSums } from '../db/entries/entries';
import { listEntryEvents } from '../db/entries/entry-events';
import { withFacts } from '../db/evictions/eviction-view';
import { listRefusals } from '../db/flights';
import { selectFollows } from '../db/follows/follows';
import { listDecisions, summarizeDecisions } from '../db/report/decisions';
import * as report from '../db/report/report';
import { findVolume, selectVolumes } from '../db/volumes';
import type { BackendName, EntryId, ProjectId, VolumeId } from '../workflows/contract/ids';
import { Failure } from '../workflows/contract/failures';
import type { VolumeState } from '../workflows/contract/volume';
import { ImageVolumeCacheError, toClientError } from './errors';
import {
  toBackendStatus,
  toCacheEntry,
  toDecision,
  toDecisionSummary,
  toEntryEvent,
  toFollow,
  toRefusal,
  toVolume,
} from './inventory-rows';
import type {
  BackendStatus,
  CacheEntry,
  CacheEntryState,
  Decision,
  DecisionSummary,
  EntryEvent,
  Follow,
  Refusal,
  Volume,
} from './records';
import { chooseBucketMs, toBuckets, toTotals, type Report, type ReportFilter } from './report';
import { missing, type Settings } from './settings';
import { type BackendRow, type EntryRow } from '../db/schema';

export interface VolumeFilter {
  projectId?: string;
  backend?: string;
  /** Default: all but `deleted`. */
  state?: VolumeState;
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
  /** A volume's id: those that follow it. */
  after?: string;
}
export interface EntryFilter {
  backend?: string;
  /** Default: all but `gone`. */
  state?: CacheEntryState;
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

/** The one reader of the database. Every call: @throws ImageVolumeCacheError `DatabaseUnavailable` */
export interface Inventory {
  /** @throws also when the database holds no inventory yet. */
  ping(): Promise<void>;
  /** The Temporal namespace in which its runs are; undefined while no worker has started. */
  findNamespace(): Promise<{ name: string; id: string | undefined } | undefined>;
  /** Newest first. */
  listVolumes(filter?: VolumeFilter): Promise<Volume[]>;
  findVolume(volumeId: VolumeId): Promise<Volume | undefined>;
  listEntries(filter?: EntryFilter): Promise<CacheEntry[]>;
  findEntry(entryId: EntryId): Promise<CacheEntry | undefined>;
  /** The newest first. */
  listEntryEvents(filter: { entryId: EntryId; limit?: number }): Promise<EntryEvent[]>;
  listDecisions(filter?: DecisionFilter): Promise<Decision[]>;
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

  return reporting({
    ping: async () => void (await listBackends(database)),
    findNamespace: () => findNamespace(database),
    listVolumes: async ({ limit = DEFAULT_LIMIT, after, ...filter } = {}) => {
      const afterId = after as VolumeId | undefined;
      return (await selectVolumes(database, { ...branded(filter), limit, afterId })).map(toVolume);
    },
    findVolume: async (volumeId) => {
      const row = await findVolume(database, { volumeId });
      return row && toVolume(row);
    },
    listEntries: async ({ limit = DEFAULT_LIMIT, after, ...filter } = {}) => {
      const afterId = after as EntryId | undefined;
      return await withEntryFacts(database, await listEntries(database, { ...branded(filter), limit, afterId }));
    },
    findEntry: async (entryId) => {
      const row = await findEntry(database, { entryId });
      return (await withEntryFacts(database, row ? [row] : []))[0];
    },
    listEntryEvents: async ({ entryId, limit = DEFAULT_LIMIT }) =>
      (await listEntryEvents(database, { entryIds: [entryId], limit })).map(toEntryEvent),
    listDecisions: async ({ limit = DEFAULT_LIMIT, ...filter } = {}) =>
      (await listDecisions(database, { ...branded(filter), limit })).map(toDecision),
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
  projectId?: ProjectId;
  volumeId?: VolumeId;
  entryId?: EntryId;
}

/** Callers name things by plain strings. */
function branded<Filter extends { [Name in keyof Ids]?: string }>(filter: Filter): Omit<Filter, keyof Ids> & Ids {
  return filter as Omit<Filter, keyof Ids> & Ids;
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
function reporting(inventory: Inventory): Inventory {
  const wrapped = Object.entries(inventory).map(
    ([name, method]: [string, (...args: unknown[]) => Promise<unknown>]) => [
      name,
      async (...args: unknown[]) => {
        try {
          return await method(...args);
        } catch (error) {
          throw toInventoryError(error);
        }
      },
    ],
  );
  return Object.fromEntries(wrapped) as Inventory;
}

/** PostgreSQL's SQLSTATE for a table that is not there: nobody has migrated the database. */
const UNDEFINED_TABLE = '42P01';

function toInventoryError(error: unknown): unknown {
  if (error instanceof Failure && 'sqlState' in error.details && error.details.sqlState === UNDEFINED_TABLE) {
    const message =
      'the database holds no inventory yet: a worker creates it when it starts (`ivc up` or `ivc worker`)';
    return new ImageVolumeCacheError({ type: 'DatabaseUnavailable', message, cause: error });
  }
  return toClientError(error);
}
