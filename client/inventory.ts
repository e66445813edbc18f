import type * as clientModule from '../db/client';
import type * as backendsModule from '../db/queries/backends';
import type * as entriesModule from '../db/queries/cache-entries';
import type * as decisionsModule from '../db/queries/decisions';
import type * as volumesModule from '../db/queries/volumes';
import type { BackendRow } from '../db/types';
import type { BackendName, EntryId, ProjectId, VolumeId } from '../workflows/contract/ids';
import { Failure } from '../workflows/contract/failures';
import type { VolumeState } from '../workflows/contract/volume';
import { ImageVolumeCacheError } from './errors';
import { toBackendStatus, toCacheEntry, toDecision, toDecisionSummary, toVolume } from './inventory-rows';
import type { BackendStatus, CacheEntry, CacheEntryState, Decision, DecisionSummary, Volume } from './records';
import { missing, type Settings } from './settings';

export interface VolumeFilter {
  projectId?: string;
  backend?: string;
  /** Default: all but `deleted`. */
  state?: VolumeState;
  /** Default: `DEFAULT_LIMIT`. */
  limit?: number;
}
export interface EntryFilter {
  backend?: string;
  /** Default: all but `gone`. */
  state?: CacheEntryState;
  limit?: number;
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
  /** Newest first. */
  listVolumes(filter?: VolumeFilter): Promise<Volume[]>;
  findVolume(volumeId: VolumeId): Promise<Volume | undefined>;
  listEntries(filter?: EntryFilter): Promise<CacheEntry[]>;
  findEntry(entryId: EntryId): Promise<CacheEntry | undefined>;
  listDecisions(filter?: DecisionFilter): Promise<Decision[]>;
  summarizeDecisions(period: { withinMs: number; backend?: string }): Promise<DecisionSummary>;
  listBackends(period?: { withinMs: number }): Promise<BackendStatus[]>;
  close(): Promise<void>;
}

/** Rows a list has when nobody says otherwise. */
export const DEFAULT_LIMIT = 200;
export const DEFAULT_PERIOD_MS = 24 * 3_600_000;
const MAX_CONNECTIONS = 4;

/** Loads the database's code on its first use: who only creates volumes never does. @throws ImageVolumeCacheError `NotConfigured` */
export async function openInventory(settings: Settings): Promise<Inventory> {
  const url = settings.databaseUrl ?? missing('database', 'DATABASE_URL', settings);
  const { connectDatabase, volumes, entries, decisions, backends } = loadDatabase();
  const database = connectDatabase(url, {
    maxConnections: MAX_CONNECTIONS,
    applicationName: 'image-volume-cache client',
  });

  const summarize = async ({ withinMs, backend }: { withinMs: number; backend?: string }): Promise<DecisionSummary> =>
    toDecisionSummary(
      await decisions.summarizeDecisions(database, { withinMs, backend: backend as BackendName | undefined }),
    );

  return reporting({
    ping: async () => void (await backends.listBackends(database)),
    listVolumes: async ({ projectId, backend, state, limit = DEFAULT_LIMIT } = {}) => {
      const filter = {
        projectId: projectId as ProjectId | undefined,
        backend: backend as BackendName | undefined,
        state,
        limit,
      };
      return (await volumes.listVolumes(database, filter)).map(toVolume);
    },
    findVolume: async (volumeId) => {
      const row = await volumes.findVolume(database, { volumeId });
      return row && toVolume(row);
    },
    listEntries: async ({ backend, state, limit = DEFAULT_LIMIT } = {}) => {
      const rows = await entries.listEntries(database, { backend: backend as BackendName | undefined, state, limit });
      const images = await entries.listEntryImages(database, { entryIds: rows.map(({ id }) => id) });
      return rows.map((row) => toCacheEntry(row, images));
    },
    findEntry: async (entryId) => {
      const row = await entries.findEntry(database, { entryId });
      return row && toCacheEntry(row, await entries.listEntryImages(database, { entryIds: [entryId] }));
    },
    listDecisions: async ({ volumeId, entryId, backend, limit = DEFAULT_LIMIT } = {}) => {
      const filter = {
        volumeId: volumeId as VolumeId | undefined,
        entryId: entryId as EntryId | undefined,
        backend: backend as BackendName | undefined,
        limit,
      };
      return (await decisions.listDecisions(database, filter)).map(toDecision);
    },
    summarizeDecisions: summarize,
    listBackends: async ({ withinMs } = { withinMs: DEFAULT_PERIOD_MS }) => {
      const status = async (row: BackendRow): Promise<BackendStatus> =>
        toBackendStatus(row, {
          sums: await entries.sums(database, { backend: row.name }),
          decisions: await summarize({ withinMs, backend: row.name }),
        });
      return await Promise.all((await backends.listBackends(database)).map(status));
    },
    close: () => database.close(),
  });
}

/** `require`, since an `import()` would need file extensions that the tests' loader does not know. */
function loadDatabase() {
  const { connectDatabase }: typeof clientModule = require('../db/client');
  const volumes: typeof volumesModule = require('../db/queries/volumes');
  const entries: typeof entriesModule = require('../db/queries/cache-entries');
  const decisions: typeof decisionsModule = require('../db/queries/decisions');
  const backends: typeof backendsModule = require('../db/queries/backends');
  return { connectDatabase, volumes, entries, decisions, backends };
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

/** PostgreSQL's SQLSTATE for a table that is not there: nobody has migrated the database. Adapters write it behind the message. */
const UNDEFINED_TABLE = '42P01';

function toInventoryError(error: unknown): unknown {
  if (error instanceof Failure) {
    return new ImageVolumeCacheError({
      type: error.type,
      message: error.message,
      details: { ...error.details },
      cause: error,
    });
  }
  if (error instanceof Error && error.message.includes(UNDEFINED_TABLE)) {
    const message = 'the database holds no inventory yet: a worker makes it when it starts (`ivc up` or `ivc worker`)';
    return new ImageVolumeCacheError({ type: 'DatabaseUnavailable', message, cause: error });
  }
  return error;
}
