import { sql, type SQL } from 'drizzle-orm';
import {
  bigint,
  bigserial,
  boolean,
  check,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
  uuid,
  type AnyPgColumn,
} from 'drizzle-orm/pg-core';
import { evictionPolicies } from '../workflows/contract/cache-limits';
import type {
  BackendName,
  EntryId,
  FollowId,
  HostId,
  ImageId,
  InstallationId,
  ProjectId,
  VolumeId,
} from '../workflows/contract/ids';
import type { Verdict } from '../workflows/contract/population';
import { outcomes, volumeStates, type Connection, type TimingsMs } from '../workflows/contract/volume';
import type { InferSelectModel } from 'drizzle-orm';

/*
 * The inventory. States change only by compare-and-set and unique constraints are the fences.
 * Rows are locked in this order: backends, populations, volumes, cache_entries. A retirement locks entries and only
 * reads volumes.
 */

/**
 * `populating -> ready -> retired -> deleting -> gone`; a victim goes from `ready` straight to `deleting`, a
 * reservation given up straight to `gone`.
 */
export const entryStates = ['populating', 'ready', 'retired', 'deleting', 'gone'] as const;
export type EntryState = (typeof entryStates)[number];

/** Why an entry left `ready`, or never came there. */
export const retireReasons = [
  'evicted',
  'image-gone',
  'superseded',
  'quarantined',
  'idle',
  'requested',
  'abandoned',
  'policy-changed',
  'clone-limit',
] as const;
export type RetireReason = (typeof retireReasons)[number];

export const decisionOutcomes = [...outcomes, 'failed'] as const;
export type DecisionOutcome = (typeof decisionOutcomes)[number];

/** Events of an entry's history. */
export const entryEventKinds = [
  'registered',
  'superseded',
  'retired',
  'quarantined',
  'deleted',
  'flattened',
  'pinned',
  'unpinned',
  'digested',
  'scrubbed',
  'repaired',
] as const;
export type EntryEventKind = (typeof entryEventKinds)[number];

export const imageUseStates = ['usable', 'deactivated', 'gone'] as const;

const instant = (name: string) => timestamp(name, { withTimezone: true });
const bytes = (name: string) => bigint(name, { mode: 'number' });

/** `column in ('a', 'b')`: plain text with a check gets a new state in one transaction, an enum type does not. */
function oneOf(column: AnyPgColumn, allowed: readonly string[]): SQL {
  return sql`${column} in (${sql.raw(allowed.map((value) => `'${value}'`).join(', '))})`;
}

/** One row: the id that marks everything this installation makes on a backend. */
export const installation = pgTable(
  'installation',
  {
    singleton: boolean().primaryKey().default(true),
    id: uuid().$type<InstallationId>().notNull(),
    /** Where the runs are that its rows wait for; null until a worker has started. */
    temporalNamespace: text('temporal_namespace'),
    /**
     * The namespace's own id, which tells one of the same name on another server; null where the server does not say
     * it.
     */
    temporalNamespaceId: text('temporal_namespace_id'),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [check('installation_is_one_row', sql`${table.singleton}`)],
);

/** A backend and the limits of its cache. This row is locked before sums over its entries are read. */
export const backends = pgTable(
  'backends',
  {
    name: text().$type<BackendName>().primaryKey(),
    driver: text().notNull(),
    capabilities: jsonb().$type<object>().notNull(),
    /** Id of the place that was claimed; null: by a version that gave it none. */
    placeId: text('place_id'),
    cacheEnabled: boolean('cache_enabled').notNull(),
    maxBytes: bytes('max_bytes').notNull(),
    maxCount: integer('max_count').notNull(),
    /** Shares of the backend's real space, 0 to 1. */
    freeLowWater: doublePrecision('free_low_water').notNull(),
    freeHighWater: doublePrecision('free_high_water').notNull(),
    idleAgeMs: bytes('idle_age_ms'),
    keepSuperseded: integer('keep_superseded').notNull(),
    policy: text({ enum: evictionPolicies }).notNull(),
    /** Clones a parent may have; null: no limit. */
    cloneLimit: integer('clone_limit'),
    /** Names of the limits that an operator has set: the configuration leaves those alone. */
    operatorLimits: text('operator_limits').array().notNull().default([]),
    limitsSetBy: text('limits_set_by'),
    limitsSetAt: instant('limits_set_at'),
    totalBytes: bytes('total_bytes'),
    freeBytes: bytes('free_bytes'),
    spaceSeenAt: instant('space_seen_at'),
    /** L of GreedyDual-Size-Frequency: the priority of what was evicted last. It only grows. */
    evictionClock: doublePrecision('eviction_clock').notNull().default(0),
    registeredAt: instant('registered_at').notNull().defaultNow(),
  },
  (table) => [check('backends_policy', oneOf(table.policy, evictionPolicies))],
);

/**
 * Bytes that the volumes of a backend may grow to, in shards, so that creates at once seldom write the same row: their
 * sum is what the backend has promised. Triggers of the migrations write it when a transaction ends, and nothing else
 * does.
 */
export const backendPromises = pgTable(
  'backend_promises',
  {
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    shard: integer().notNull(),
    bytes: bytes('bytes').notNull(),
  },
  (table) => [primaryKey({ columns: [table.backend, table.shard] })],
);

const cacheKeyColumns = () => ({
  shortKey: text('short_key').notNull(),
  containerFormat: text('container_format').notNull(),
  diskFormat: text('disk_format').notNull(),
  hashAlgorithm: text('hash_algorithm').notNull(),
  hashValue: text('hash_value').notNull(),
  /** Set only where the image's own id is part of the key. */
  keyImageId: text('key_image_id').$type<ImageId>(),
});

/** One generation of one cached image on one backend. `gone` rows keep the use counts for a while. */
export const cacheEntries = pgTable(
  'cache_entries',
  {
    id: uuid().$type<EntryId>().primaryKey(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    ...cacheKeyColumns(),
    generation: integer().notNull(),
    state: text({ enum: entryStates }).notNull(),
    reason: text({ enum: retireReasons }),
    /** For operators: the proof that it is unusable. */
    reasonDetail: text('reason_detail'),
    /** Name on the backend. */
    imageVolume: text('image_volume').notNull(),
    /** The population's flight that reserved it. */
    flight: integer(),
    /** Workflow id: of the population that fills it, or of the one it is deleted for. */
    reservedFor: text('reserved_for'),
    virtualBytes: bytes('virtual_bytes'),
    /** The worst case while `populating`, measured from `ready` on. */
    realBytes: bytes('real_bytes').notNull(),
    /**
     * Whether its bytes count against the limits; no longer once it is retired while clones hold it, and never again
     * after.
     */
    counted: boolean().notNull().default(true),
    costSeconds: doublePrecision('cost_seconds'),
    uses: bytes('uses').notNull().default(0),
    /**
     * Stored bytes of the image: what a download costs. Null where it was registered by a version that did not note it.
     */
    imageBytes: bytes('image_bytes'),
    /** Its deletion would give back so much, as the backend said last. */
    reclaimableBytes: bytes('reclaimable_bytes'),
    /** F: uses that decay with time and outlive eviction; a sweep adds those since `scoredAt`. */
    useScore: doublePrecision('use_score').notNull().default(0),
    /** `uses` as far as they are in `useScore`. */
    usesScored: bytes('uses_scored').notNull().default(0),
    scoredAt: instant('scored_at'),
    lastUsedAt: instant('last_used_at'),
    /** L when it was used last, as a sweep saw it. */
    priorityBase: doublePrecision('priority_base').notNull().default(0),
    /** H, written by the sweep; the lowest go first. */
    priority: doublePrecision().notNull().default(0),
    pinned: boolean().notNull().default(false),
    pinnedBy: text('pinned_by'),
    policyVersion: text('policy_version'),
    verdict: jsonb().$type<object>(),
    digestAlgorithm: text('digest_algorithm'),
    /** Of the guest's bytes, computed in the background. */
    digest: text(),
    /** When its bytes were last found to have this digest. */
    digestSeenAt: instant('digest_seen_at'),
    /** A newer content of the same follow is ready. */
    supersededAt: instant('superseded_at'),
    /** The follow that moved on from it, and that decides how long it stays; no foreign key: it survives its follow. */
    supersededBy: uuid('superseded_by').$type<FollowId>(),
    /** Volumes that hold it: leases and live clones that need it. */
    clones: integer().notNull().default(0),
    createdAt: instant('created_at').notNull().defaultNow(),
    readyAt: instant('ready_at'),
    retiredAt: instant('retired_at'),
    goneAt: instant('gone_at'),
  },
  (table) => [
    unique('cache_entries_generation').on(table.backend, table.shortKey, table.generation),
    uniqueIndex('cache_entries_one_populating')
      .on(table.backend, table.shortKey)
      .where(sql`${table.state} = 'populating'`),
    // Neither `clones` nor `last_used_at` is indexed: an acquire then stays a heap-only update of a hot row.
    index('cache_entries_priority').on(table.backend, table.state, table.priority),
    // The order of a list's pages.
    index('cache_entries_created')
      .on(table.createdAt, table.id)
      .where(sql`${table.state} <> 'gone'`),
    // Sums over a backend's entries are read from it alone.
    index('cache_entries_sums')
      .on(table.backend, table.counted, table.state, table.realBytes)
      .where(sql`${table.state} <> 'gone'`),
    index('cache_entries_superseded')
      .on(table.backend, table.supersededAt)
      .where(sql`${table.supersededAt} is not null`),
    index('cache_entries_reserved_for')
      .on(table.reservedFor)
      .where(sql`${table.state} in ('populating', 'deleting')`),
    check('cache_entries_state', oneOf(table.state, entryStates)),
    check('cache_entries_clones', sql`${table.clones} >= 0`),
    check('cache_entries_ready_is_measured', sql`${table.state} <> 'ready' or ${table.virtualBytes} is not null`),
  ],
);

/** The images that one entry serves; it is retired when the last usable one is gone. */
export const entryImages = pgTable(
  'entry_images',
  {
    entryId: uuid('entry_id')
      .$type<EntryId>()
      .notNull()
      .references(() => cacheEntries.id, { onDelete: 'cascade' }),
    imageId: text('image_id').$type<ImageId>().notNull(),
    projectId: text('project_id').$type<ProjectId>().notNull(),
    lastSeenAt: instant('last_seen_at').notNull().defaultNow(),
    state: text({ enum: imageUseStates }).notNull().default('usable'),
  },
  (table) => [
    primaryKey({ columns: [table.entryId, table.imageId] }),
    index('entry_images_image').on(table.imageId),
    index('entry_images_unusable')
      .on(table.entryId)
      .where(sql`${table.state} <> 'usable'`),
    check('entry_images_state', oneOf(table.state, imageUseStates)),
  ],
);

/** The row of a key's flights: a cold key has no entry that could be locked. */
export const populations = pgTable(
  'populations',
  {
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    ...cacheKeyColumns(),
    flight: integer().notNull(),
    /** The run that claimed this flight. */
    runId: text('run_id'),
    /** The last run that answered a flight of this key: it accepts no waiters. */
    answeredRunId: text('answered_run_id'),
    imageId: text('image_id').$type<ImageId>().notNull(),
    /** Null: no create opened this flight, but warming, a follow, or a clone limit that is near. */
    leaderVolumeId: uuid('leader_volume_id').$type<VolumeId>(),
    verdict: jsonb().$type<Verdict>(),
    answeredAt: instant('answered_at'),
    policyVersion: text('policy_version').notNull(),
    startedAt: instant('started_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.backend, table.shortKey] }),
    index('populations_running')
      .on(table.backend)
      .where(sql`${table.answeredAt} is null`),
    check('populations_verdict_is_answer', sql`(${table.verdict} is null) = (${table.answeredAt} is null)`),
  ],
);

/** Warming and follows that wait for a flight. A volume that waits says so in its own row. */
export const flightWaiters = pgTable(
  'flight_waiters',
  {
    id: uuid().primaryKey().defaultRandom(),
    backend: text().$type<BackendName>().notNull(),
    shortKey: text('short_key').notNull(),
    flight: integer().notNull(),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    activityId: text('activity_id').notNull(),
  },
  (table) => [
    unique('flight_waiters_activity').on(table.runId, table.activityId),
    index('flight_waiters_flight').on(table.backend, table.shortKey, table.flight),
  ],
);

/**
 * A caller's volume. `entry_id` with `holds_entry` is the lease while `creating`, the parent that the clone needs
 * later.
 */
export const volumes = pgTable(
  'volumes',
  {
    id: uuid().$type<VolumeId>().primaryKey(),
    projectId: text('project_id').$type<ProjectId>().notNull(),
    name: text(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    imageId: text('image_id').$type<ImageId>().notNull(),
    shortKey: text('short_key').notNull(),
    /** The caller's request as given; two requests for one id are the same when these are equal. */
    request: jsonb().$type<object>().notNull(),
    /** Null until the image's virtual size is known. */
    sizeBytes: bytes('size_bytes'),
    state: text({ enum: volumeStates }).notNull(),
    entryId: uuid('entry_id')
      .$type<EntryId>()
      .references(() => cacheEntries.id, { onDelete: 'set null' }),
    /**
     * Whether this volume is one of its entry's `clones`. False from deletion on, and where clones live without their
     * parent.
     */
    holdsEntry: boolean('holds_entry').notNull().default(false),
    waitsForFlight: integer('waits_for_flight'),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    activityId: text('activity_id'),
    /**
     * Its run undoes what it made: it can no longer become `available` for that run, however late a step of it ends.
     */
    givenUp: boolean('given_up').notNull().default(false),
    outcome: text({ enum: outcomes }),
    attachedTo: text('attached_to'),
    connection: jsonb().$type<Connection>(),
    bootable: boolean().notNull().default(false),
    imageMetadata: jsonb('image_metadata').$type<Record<string, string>>().notNull(),
    metadata: jsonb().$type<Record<string, string>>().notNull(),
    errorType: text('error_type'),
    errorMessage: text('error_message'),
    /** The state before `deleting`: a create may still run, and a refused delete goes back to it. */
    stateBeforeDelete: text('state_before_delete', { enum: volumeStates }),
    createdAt: instant('created_at').notNull().defaultNow(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
    availableAt: instant('available_at'),
    deletedAt: instant('deleted_at'),
  },
  (table) => [
    index('volumes_entry').on(table.entryId),
    // Leases, apart from the many volumes that name an entry.
    index('volumes_lease')
      .on(table.entryId)
      .where(sql`${table.holdsEntry} and ${table.state} in ('creating', 'deleting')`),
    index('volumes_waiting')
      .on(table.backend, table.shortKey, table.waitsForFlight, table.id)
      .where(sql`${table.waitsForFlight} is not null`),
    // The order of a list's pages, for each of its filters.
    index('volumes_created')
      .on(table.createdAt, table.id)
      .where(sql`${table.state} <> 'deleted'`),
    index('volumes_backend').on(table.backend, table.createdAt, table.id),
    index('volumes_project').on(table.projectId, table.createdAt, table.id),
    index('volumes_state').on(table.state, table.createdAt, table.id),
    check('volumes_state_known', oneOf(table.state, volumeStates)),
    check('volumes_size', sql`${table.sizeBytes} is null or (${table.sizeBytes} > 0 and ${table.sizeBytes} % 512 = 0)`),
    check(
      'volumes_available_is_complete',
      sql`${table.state} <> 'available' or (${table.connection} is not null and ${table.sizeBytes} is not null)`,
    ),
    check('volumes_holds_an_entry', sql`not ${table.holdsEntry} or ${table.entryId} is not null`),
  ],
);

/** Image bytes in a host's scratch, by content hash, shared by all who use them. */
export const scratchFiles = pgTable(
  'scratch_files',
  {
    hostId: text('host_id').$type<HostId>().notNull(),
    contentHash: text('content_hash').notNull(),
    bytesReserved: bytes('bytes_reserved').notNull(),
    bytesReal: bytes('bytes_real'),
    users: text().array().notNull().default([]),
    createdAt: instant('created_at').notNull().defaultNow(),
    lastUsedAt: instant('last_used_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.hostId, table.contentHash] })],
);

/** One row for each create and refusal. No foreign keys: decisions survive what they describe. */
export const decisions = pgTable(
  'decisions',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    at: instant('at').notNull().defaultNow(),
    /** Null where a refused request named none that is valid. */
    volumeId: uuid('volume_id').$type<VolumeId>(),
    projectId: text('project_id').$type<ProjectId>(),
    backend: text().$type<BackendName>(),
    imageId: text('image_id').$type<ImageId>(),
    shortKey: text('short_key'),
    entryId: uuid('entry_id').$type<EntryId>(),
    outcome: text({ enum: decisionOutcomes }).notNull(),
    reason: text().notNull(),
    errorType: text('error_type'),
    bytesDownloaded: bytes('bytes_downloaded').notNull().default(0),
    /** Spared by a clone: the image's stored bytes, and the seconds of the entry's population. */
    savedBytes: bytes('saved_bytes').notNull().default(0),
    savedSeconds: doublePrecision('saved_seconds').notNull().default(0),
    timingsMs: jsonb('timings_ms').$type<TimingsMs>().notNull().default({}),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
  },
  (table) => [
    unique('decisions_one_a_run').on(table.workflowId, table.runId),
    index('decisions_at').on(table.at),
    index('decisions_volume').on(table.volumeId),
    index('decisions_entry').on(table.entryId),
    check('decisions_outcome', oneOf(table.outcome, decisionOutcomes)),
  ],
);

/** The history of entries. No foreign keys: it survives what it describes. */
export const entryEvents = pgTable(
  'entry_events',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    at: instant('at').notNull().defaultNow(),
    entryId: uuid('entry_id').$type<EntryId>().notNull(),
    backend: text().$type<BackendName>().notNull(),
    shortKey: text('short_key').notNull(),
    kind: text({ enum: entryEventKinds }).notNull(),
    /** Class of the eviction or cause of the event: one of `retireReasons`, or a word of its kind. */
    reason: text(),
    /** One sentence for people: what was found, or who asked. */
    detail: text(),
    /** Bytes that it gave back, or takes. */
    bytes: bytes('bytes'),
    /** Workflow id of whom it was done for. */
    workflowId: text('workflow_id'),
  },
  (table) => [
    index('entry_events_entry').on(table.entryId, table.id),
    index('entry_events_at').on(table.at),
    check('entry_events_kind', oneOf(table.kind, entryEventKinds)),
  ],
);

/** A standing order: the newest active image that matches is kept populated on the backend. */
export const follows = pgTable(
  'follows',
  {
    id: uuid().$type<FollowId>().primaryKey(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    /** A create names it `follow:<name>`. */
    name: text().notNull(),
    /** Which images match; every field that is set must. */
    imageName: text('image_name').notNull(),
    owner: text().$type<ProjectId>(),
    tags: text().array().notNull().default([]),
    properties: jsonb().$type<Record<string, string>>().notNull().default({}),
    /** Generations of superseded content that stay. */
    keep: integer().notNull().default(0),
    pin: boolean().notNull().default(false),
    /** A create from the follow uses the newest that is ready. */
    currentImageId: text('current_image_id').$type<ImageId>(),
    currentEntryId: uuid('current_entry_id')
      .$type<EntryId>()
      .references(() => cacheEntries.id, { onDelete: 'set null' }),
    currentSince: instant('current_since'),
    /** The newest that matched, ready or not. */
    newestImageId: text('newest_image_id').$type<ImageId>(),
    checkedAt: instant('checked_at'),
    /** Why the last check failed; null when it did not. */
    problem: text(),
    createdBy: text('created_by').notNull(),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [unique('follows_name').on(table.backend, table.name), check('follows_keep', sql`${table.keep} >= 0`)],
);

export type BackendRow = InferSelectModel<typeof backends>;
export type EntryRow = InferSelectModel<typeof cacheEntries>;
export type EntryImageRow = InferSelectModel<typeof entryImages>;
export type PopulationRow = InferSelectModel<typeof populations>;
export type VolumeRow = InferSelectModel<typeof volumes>;
export type ScratchFileRow = InferSelectModel<typeof scratchFiles>;
export type EntryEventRow = InferSelectModel<typeof entryEvents>;
export type FollowRow = InferSelectModel<typeof follows>;
export type DecisionRow = InferSelectModel<typeof decisions>;
