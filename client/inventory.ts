import type * as clientModule from '../db/client';
import type * as clockModule from '../db/clock';
import type * as backendsModule from '../db/backends';
import type * as installationModule from '../db/installation';
import type * as entriesModule from '../db/entries/entries';
import type * as decisionsModule from '../db/report/decisions';
import type * as eventsModule from '../db/entries/entry-events';
import type * as viewModule from '../db/evictions/eviction-view';
import type * as flightsModule from '../db/flights';
import type * as reportModule from '../db/report/report';
import type * as followsModule from '../db/follows/follows';
import type * as volumesModule from '../db/volumes';
import type { BackendName, EntryId, ProjectId, VolumeId } from '../workflows/contract/ids';
import { Failure } from '../workflows/contract/failures';
import type { VolumeState } from '../workflows/contract/volume';
import { ImageVolumeCacheError } from './errors';
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
export const DEFAULT_LIMIT = 200;
export const DEFAULT_PERIOD_MS = 24 * 3_600_000;
const MAX_CONNECTIONS = 4;

/**
 * Loads the database's code on its first use: a caller that only creates volumes never does. @throws
 * ImageVolumeCacheError `NotConfigured`
 */
export async function openInventory(settings: Settings): Promise<Inventory> {
  const url = settings.databaseUrl ?? missing('database', 'DATABASE_URL', settings);
  const queries = loadDatabase();
  const database = queries.connectDatabase(url, {
    maxConnections: MAX_CONNECTIONS,
    applicationName: 'image-volume-cache client',
  });

  const summarize = async ({ withinMs, backend }: { withinMs: number; backend?: string }): Promise<DecisionSummary> =>
    toDecisionSummary(
      await queries.summarizeDecisions(database, { withinMs, backend: backend as BackendName | undefined }),
    );

  return reporting({
    ping: async () => void (await queries.listBackends(database)),
    findNamespace: () => queries.findNamespace(database),
    listVolumes: async ({ projectId, backend, state, limit = DEFAULT_LIMIT, after } = {}) => {
      const filter = {
        projectId: projectId as ProjectId | undefined,
        backend: backend as BackendName | undefined,
        state,
        limit,
        afterId: after as VolumeId | undefined,
      };
      return (await queries.selectVolumes(database, filter)).map(toVolume);
    },
    findVolume: async (volumeId) => {
      const row = await queries.findVolume(database, { volumeId });
      return row && toVolume(row);
    },
    listEntries: async ({ backend, state, limit = DEFAULT_LIMIT, after } = {}) => {
      const filter = {
        backend: backend as BackendName | undefined,
        state,
        limit,
        afterId: after as EntryId | undefined,
      };
      return await withEntryFacts(database, queries, await queries.listEntries(database, filter));
    },
    findEntry: async (entryId) => {
      const row = await queries.findEntry(database, { entryId });
      return (await withEntryFacts(database, queries, row ? [row] : []))[0];
    },
    listEntryEvents: async ({ entryId, limit = DEFAULT_LIMIT }) =>
      (await queries.listEntryEvents(database, { entryIds: [entryId], limit })).map(toEntryEvent),
    listDecisions: async ({ volumeId, entryId, backend, limit = DEFAULT_LIMIT } = {}) => {
      const filter = {
        volumeId: volumeId as VolumeId | undefined,
        entryId: entryId as EntryId | undefined,
        backend: backend as BackendName | undefined,
        limit,
      };
      return (await queries.listDecisions(database, filter)).map(toDecision);
    },
    listFollows: async ({ backend, limit = DEFAULT_LIMIT } = {}) =>
      (await queries.selectFollows(database, { backend: backend as BackendName | undefined, limit })).map(toFollow),
    listRefusals: async ({ backend, limit = DEFAULT_LIMIT } = {}) =>
      (await queries.listRefusals(database, { backend: backend as BackendName | undefined, limit })).map(toRefusal),
    summarizeDecisions: summarize,
    listBackends: async ({ withinMs } = { withinMs: DEFAULT_PERIOD_MS }) => {
      const status = async (row: BackendRow): Promise<BackendStatus> =>
        toBackendStatus(row, {
          sums: await queries.readSums(database, { backend: row.name }),
          decisions: await summarize({ withinMs, backend: row.name }),
        });
      return await Promise.all((await queries.listBackends(database)).map(status));
    },
    readReport: (filter) => readReport(database, queries, filter),
    close: () => database.close(),
  });
}

type Queries = ReturnType<typeof loadDatabase>;

/** A few statements, whatever the number of rows. */
async function withEntryFacts(
  database: clientModule.Database,
  { listEntryImages, withFacts }: Queries,
  rows: EntryRow[],
): Promise<CacheEntry[]> {
  const images = await listEntryImages(database, { entryIds: rows.map(({ id }) => id) });
  const facts = await withFacts(database, rows);
  return facts.map(({ entry, ...known }) => toCacheEntry(entry, images, known));
}

async function readReport(
  database: clientModule.Database,
  queries: Queries,
  { withinMs, backend }: ReportFilter,
): Promise<Report> {
  const bucketMs = chooseBucketMs(withinMs);
  const { from, to } = await queries.readPeriodUntilNow(database, withinMs);
  const period = { from, to, backend: backend as BackendName | undefined };
  const outcomes = await queries.readOutcomes(database, { ...period, bucketMs });
  return {
    from: from.toISOString(),
    to: to.toISOString(),
    backend: backend ?? null,
    totals: toTotals(outcomes),
    buckets: toBuckets(outcomes, { fromMs: from.getTime(), toMs: to.getTime(), bucketMs }),
    bucketSeconds: bucketMs / 1000,
    reasons: await queries.readReasons(database, period),
    stages: await queries.readStages(database, period),
    expensiveMisses: (await queries.readExpensiveMisses(database, period)).map(dated),
    images: await queries.readImageUse(database, period),
    left: (await queries.readEntriesLeft(database, period)).map(({ shortKey: _shortKey, ...entry }) => dated(entry)),
  };
}

function dated<Row extends { at: Date }>({ at, ...row }: Row) {
  return { at: at.toISOString(), ...row };
}

/**
 * `require`, since an `import()` would need file extensions that the tests' loader does not know. Each function is
 * named: what none names is unused.
 */
function loadDatabase() {
  const { connectDatabase }: typeof clientModule = require('../db/client');
  const { readPeriodUntilNow }: typeof clockModule = require('../db/clock');
  const { findNamespace }: typeof installationModule = require('../db/installation');
  const { selectFollows }: typeof followsModule = require('../db/follows/follows');
  const { findVolume, selectVolumes }: typeof volumesModule = require('../db/volumes');
  const { findEntry, listEntries, listEntryImages, readSums }: typeof entriesModule = require('../db/entries/entries');
  const { listEntryEvents }: typeof eventsModule = require('../db/entries/entry-events');
  const { withFacts }: typeof viewModule = require('../db/evictions/eviction-view');
  const { listDecisions, summarizeDecisions }: typeof decisionsModule = require('../db/report/decisions');
  const { listBackends }: typeof backendsModule = require('../db/backends');
  const { listRefusals }: typeof flightsModule = require('../db/flights');
  const {
    readEntriesLeft,
    readExpensiveMisses,
    readImageUse,
    readOutcomes,
    readReasons,
    readStages,
  }: typeof reportModule = require('../db/report/report');
  return {
    connectDatabase,
    findEntry,
    findNamespace,
    findVolume,
    listBackends,
    listDecisions,
    listEntries,
    listEntryEvents,
    listEntryImages,
    selectFollows,
    listRefusals,
    selectVolumes,
    readEntriesLeft,
    readExpensiveMisses,
    readImageUse,
    readOutcomes,
    readPeriodUntilNow,
    readReasons,
    readStages,
    readSums,
    summarizeDecisions,
    withFacts,
  };
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
  if (error instanceof Failure) {
    return new ImageVolumeCacheError({
      type: error.type,
      message: error.message,
      details: { ...error.details },
      cause: error,
    });
  }
  return error;
}
