import { sql, type SQL } from 'drizzle-orm/sql';
import { check } from 'drizzle-orm/pg-core/checks';
import {
  bigint,
  bigserial,
  boolean,
  doublePrecision,
  integer,
  jsonb,
  text,
  timestamp,
  uuid,
  type AnyPgColumn,
} from 'drizzle-orm/pg-core/columns';
import { index, uniqueIndex } from 'drizzle-orm/pg-core/indexes';
import { primaryKey } from 'drizzle-orm/pg-core/primary-keys';
import { pgTable } from 'drizzle-orm/pg-core/table';
import { unique } from 'drizzle-orm/pg-core/unique-constraint';
import { evictionPolicies } from '../workflows/contract/cache-limits';
import type {
  BackendName,
  ContentId,
  EntryId,
  FollowId,
  HostId,
  ImageId,
  InstallationId,
  ProjectId,
  SnapshotId,
  TransferId,
  VolumeId,
} from '../workflows/contract/ids';
import type { EntryVerdict } from '../workflows/contract/image';
import type { Verdict } from '../workflows/contract/population';
import { entryEventKinds, type EventKind } from '../workflows/contract/event-kinds';
import { attachmentStatuses, attachModes } from '../workflows/contract/attachment';
import { failedKinds } from '../workflows/contract/message';
import { keptQuotaNames, quotaNames, type Quotas, type SettableQuota } from '../workflows/contract/quotas';
import { heldSnapshotStatuses, snapshotStates } from '../workflows/contract/snapshot';
import { heldStatuses, outcomes, volumeStates, type Connection, type TimingsMs } from '../workflows/contract/volume';
import { importedKinds, type ImportedDetail } from '../workflows/contract/cinder-import';
import type { VolumeTypeEncryption } from '../workflows/contract/volume-type';
import type { InferSelectModel } from 'drizzle-orm';

/*
 * The inventory. States change only by compare-and-set and unique constraints are the fences.
 * Rows are locked in this order: backends, populations, volumes, snapshots, reimages, uploads, cache_entries. A retirement locks entries and only
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
    /** Owns all image-volumes; null until a worker has started. */
    internalProjectId: text('internal_project_id').$type<ProjectId>(),
    internalUserId: text('internal_user_id'),
    /** Of a project for which no operator has set others, as the worker that started last is configured. */
    defaultQuotas: jsonb('default_quotas').$type<Partial<Quotas>>().notNull().default({}),
    /** Whether the quota of bytes counts snapshots too. */
    snapshotBytesCount: boolean('snapshot_bytes_count').notNull().default(true),
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
  /** Set only where the bytes were verified to have a signature: then it is part of the key. */
  keySignature: text('key_signature'),
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
     * Stored bytes of the image: the cost of a download. Null where it was registered by a version that did not note it.
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
    /** Null while `populating` where it is not known yet; true of the bytes of every `ready` entry. */
    verdict: jsonb().$type<EntryVerdict>(),
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
    /** Its name; null: none was asked for. */
    volumeType: text('volume_type'),
    /** Of one of `volume_types`, whose name `volume_type` is; null: of the configuration. No foreign key: rows of deleted volumes stay. */
    volumeTypeId: uuid('volume_type_id'),
    /** Why its backend was chosen, as the end of a sentence; null: its request named it. */
    placement: text(),
    /** Null, as `shortKey`, where its bytes are of no image. */
    imageId: text('image_id').$type<ImageId>(),
    shortKey: text('short_key'),
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
    /** The last requester, and the id of that request, as the caller says. */
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
    activityId: text('activity_id'),
    /**
     * Its run undoes what it made: it can no longer become `available` for that run, however late a step of it ends.
     */
    givenUp: boolean('given_up').notNull().default(false),
    outcome: text({ enum: outcomes }),
    attachedTo: text('attached_to'),
    description: text(),
    /** Cinder's status of an `available` volume that its users have in hand; null: `available`. */
    status: text({ enum: heldStatuses }),
    /** Whether it may only be attached for reading. */
    readOnly: boolean('read_only').notNull().default(false),
    /** Whether it may be attached more than once at a time. */
    multiattach: boolean().notNull().default(false),
    /** Of the bytes that the last reimage has given it; null: those that it was made with. */
    contentId: uuid('content_id').$type<ContentId>(),
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
    index('volumes_named').on(table.projectId, table.name),
    // Most have none, and are not in it.
    index('volumes_metadata').using('gin', table.metadata.op('jsonb_path_ops')),
    index('volumes_type')
      .on(table.volumeTypeId)
      .where(sql`${table.volumeTypeId} is not null and ${table.state} <> 'deleted'`),
    // Of one type, for that type's quotas.
    index('volumes_project_type')
      .on(table.projectId, table.volumeType)
      .where(sql`${table.volumeType} is not null and ${table.state} <> 'deleted'`),
    index('volumes_state').on(table.state, table.createdAt, table.id),
    // Deleted rows are forgotten in the end.
    index('volumes_deleted')
      .on(table.deletedAt)
      .where(sql`${table.state} = 'deleted'`),
    check('volumes_state_known', oneOf(table.state, volumeStates)),
    check('volumes_status_known', sql`${table.status} is null or ${oneOf(table.status, heldStatuses)}`),
    check('volumes_size', sql`${table.sizeBytes} is null or (${table.sizeBytes} > 0 and ${table.sizeBytes} % 512 = 0)`),
    check(
      'volumes_available_is_complete',
      sql`${table.state} <> 'available' or (${table.connection} is not null and ${table.sizeBytes} is not null)`,
    ),
    check('volumes_holds_an_entry', sql`not ${table.holdsEntry} or ${table.entryId} is not null`),
  ],
);

/** A quota that can be set: one of the known names, or one of a volume type. */
const isSettable = (quota: AnyPgColumn) =>
  sql`(${oneOf(quota, [...quotaNames, ...keptQuotaNames])} or ${quota} ~ '^(volumes|snapshots|bytes):.')`;

/** Limits of a project that an operator has set; the other ones are the installation's. */
export const projectQuotas = pgTable(
  'project_quotas',
  {
    projectId: text('project_id').$type<ProjectId>().notNull(),
    quota: text().$type<SettableQuota>().notNull(),
    /** Null: no limit. */
    most: bytes('most'),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.projectId, table.quota] }),
    check('project_quotas_quota', isSettable(table.quota)),
    check('project_quotas_most', sql`${table.most} is null or ${table.most} >= 0`),
  ],
);

/** Limits of a class of quotas; those of the class `default` are every project's that has no others. */
export const quotaClasses = pgTable(
  'quota_classes',
  {
    quotaClass: text('quota_class').notNull(),
    quota: text().$type<SettableQuota>().notNull(),
    /** Null: no limit. */
    most: bytes('most'),
    setBy: text('set_by').notNull(),
    setAt: instant('set_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.quotaClass, table.quota] }),
    check('quota_classes_quota', isSettable(table.quota)),
    check('quota_classes_most', sql`${table.most} is null or ${table.most} >= 0`),
  ],
);

/**
 * Volumes of a project and the bytes that they may grow to, its snapshots and their sizes, in shards as `backendPromises`;
 * failed ones that were removed are not among them. Triggers of the migrations write it when a transaction ends, and nothing else does.
 */
export const projectUsage = pgTable(
  'project_usage',
  {
    projectId: text('project_id').$type<ProjectId>().notNull(),
    shard: integer().notNull(),
    volumes: bytes('volumes').notNull(),
    bytes: bytes('bytes').notNull(),
    snapshots: bytes('snapshots').notNull().default(0),
    snapshotBytes: bytes('snapshot_bytes').notNull().default(0),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.shard] })],
);

/** A snapshot of a volume, which is there as long as this row is not `deleted`. */
export const snapshots = pgTable(
  'snapshots',
  {
    id: uuid().$type<SnapshotId>().primaryKey(),
    /** Its volume's. */
    projectId: text('project_id').$type<ProjectId>().notNull(),
    /** No foreign key: rows of deleted volumes are forgotten by themselves. */
    volumeId: uuid('volume_id').$type<VolumeId>().notNull(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    name: text(),
    description: text(),
    metadata: jsonb().$type<Record<string, string>>().notNull(),
    sizeBytes: bytes('size_bytes').notNull(),
    state: text({ enum: snapshotStates }).notNull(),
    entryId: uuid('entry_id')
      .$type<EntryId>()
      .references(() => cacheEntries.id, { onDelete: 'set null' }),
    /** Whether it is one of its entry's `clones`, as its volume was when it was taken. */
    holdsEntry: boolean('holds_entry').notNull().default(false),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
    /** Taken for a copy of its volume, and deleted with that: no quota counts it. */
    forCopy: boolean('for_copy').notNull().default(false),
    /** Its run undoes what it made: see `volumes`. */
    givenUp: boolean('given_up').notNull().default(false),
    errorType: text('error_type'),
    errorMessage: text('error_message'),
    /** The state before `deleting`: a create may still run. */
    stateBeforeDelete: text('state_before_delete', { enum: snapshotStates }),
    /** By which other projects use it; the image service says who. */
    sharedImageId: text('shared_image_id').$type<ImageId>(),
    /** The status that an administrator has given an `available` snapshot, in Cinder's words; null: none. */
    status: text({ enum: heldSnapshotStatuses }),
    /** With `status`, how far its work is said to be. */
    progress: text(),
    createdAt: instant('created_at').notNull().defaultNow(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
    availableAt: instant('available_at'),
    deletedAt: instant('deleted_at'),
  },
  (table) => [
    index('snapshots_volume')
      .on(table.volumeId)
      .where(sql`${table.state} <> 'deleted'`),
    index('snapshots_entry').on(table.entryId),
    index('snapshots_project').on(table.projectId, table.createdAt, table.id),
    index('snapshots_backend').on(table.backend, table.createdAt, table.id),
    index('snapshots_deleted')
      .on(table.deletedAt)
      .where(sql`${table.state} = 'deleted'`),
    check('snapshots_state_known', oneOf(table.state, snapshotStates)),
    check('snapshots_status_known', sql`${table.status} is null or ${oneOf(table.status, heldSnapshotStatuses)}`),
    check('snapshots_holds_an_entry', sql`not ${table.holdsEntry} or ${table.entryId} is not null`),
  ],
);

/** Volume types that the block-storage API's administrators make, for creates to name in place of a backend; the configuration's stand beside them. */
export const volumeTypes = pgTable(
  'volume_types',
  {
    id: uuid().primaryKey(),
    name: text().notNull().unique(),
    description: text(),
    isPublic: boolean('is_public').notNull(),
    extraSpecs: jsonb('extra_specs').$type<Record<string, string>>().notNull(),
    /** Projects that may use one that is not public. */
    projects: jsonb().$type<ProjectId[]>().notNull(),
    /** As an administrator has set it; null: none. No volume is encrypted by it: a create of such a type is refused. */
    encryption: jsonb().$type<VolumeTypeEncryption>(),
    createdAt: instant('created_at').notNull().defaultNow(),
    updatedAt: instant('updated_at'),
  },
  (table) => [index('volume_types_created').on(table.createdAt, table.id)],
);

/** Which type a project's volumes have that ask for none. */
export const defaultVolumeTypes = pgTable('default_volume_types', {
  projectId: text('project_id').$type<ProjectId>().primaryKey(),
  /** Of `volume_types`, or of the configuration. */
  volumeTypeId: uuid('volume_type_id').notNull(),
  setAt: instant('set_at').notNull().defaultNow(),
});

/** Messages about failures, which are decisions and events, that a user has deleted: by their ids. */
export const deletedMessages = pgTable(
  'deleted_messages',
  {
    id: uuid().primaryKey(),
    deletedAt: instant('deleted_at').notNull().defaultNow(),
  },
  (table) => [index('deleted_messages_at').on(table.deletedAt)],
);

/** A use of a volume by a guest or a host, from its reservation until it is detached. */
export const attachments = pgTable(
  'attachments',
  {
    id: uuid().primaryKey(),
    volumeId: uuid('volume_id').$type<VolumeId>().notNull(),
    projectId: text('project_id').$type<ProjectId>().notNull(),
    instanceId: text('instance_id'),
    hostName: text('host_name'),
    mountpoint: text(),
    mode: text({ enum: attachModes }),
    status: text({ enum: attachmentStatuses }).notNull(),
    /** Of the host that attaches it, as it has described itself. */
    connector: jsonb().$type<Record<string, unknown>>(),
    createdAt: instant('created_at').notNull().defaultNow(),
    attachedAt: instant('attached_at'),
  },
  (table) => [
    index('attachments_volume').on(table.volumeId),
    index('attachments_project').on(table.projectId, table.createdAt, table.id),
    check('attachments_status_known', oneOf(table.status, attachmentStatuses)),
    check('attachments_mode_known', sql`${table.mode} is null or ${oneOf(table.mode, attachModes)}`),
  ],
);

/** An offer of a volume to the project that knows its key. */
export const transfers = pgTable(
  'transfers',
  {
    id: uuid().$type<TransferId>().primaryKey(),
    volumeId: uuid('volume_id').$type<VolumeId>().notNull().unique(),
    /** Offers it. */
    projectId: text('project_id').$type<ProjectId>().notNull(),
    name: text(),
    /** SHA-256 of the key, in hexadecimal. */
    keyHash: text('key_hash').notNull(),
    /** Whether the volume's snapshots stay behind; it is refused while it has any. */
    noSnapshots: boolean('no_snapshots').notNull().default(false),
    createdAt: instant('created_at').notNull().defaultNow(),
  },
  (table) => [index('transfers_project').on(table.projectId, table.createdAt, table.id)],
);

/** `making`: the image service may not know of it yet. */
export const pointerStates = ['making', 'ready'] as const;

/**
 * Images whose bytes are a clone of a volume's snapshot in the image service's own store, the internal tenant's as far as we are concerned. A row is
 * there before its pointer, and goes after it.
 */
export const imagePointers = pgTable(
  'image_pointers',
  {
    imageId: text('image_id').$type<ImageId>().primaryKey(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    /** Of the volume, and the image. */
    projectId: text('project_id').$type<ProjectId>().notNull(),
    /** No foreign keys: it outlives both. */
    volumeId: uuid('volume_id').$type<VolumeId>().notNull(),
    snapshotId: uuid('snapshot_id').$type<SnapshotId>().notNull(),
    sizeBytes: bytes('size_bytes').notNull(),
    state: text({ enum: pointerStates }).notNull(),
    /** That makes it; null where an older version has noted none. */
    workflowId: text('workflow_id'),
    runId: text('run_id'),
    createdAt: instant('created_at').notNull().defaultNow(),
    updatedAt: instant('updated_at').notNull().defaultNow(),
  },
  (table) => [
    index('image_pointers_backend').on(table.backend, table.imageId),
    check('image_pointers_state_known', oneOf(table.state, pointerStates)),
  ],
);

/** `replacing`: some of the new bytes may be on the backend. `in-place`: the volume has bytes of neither image. */
export const reimageStages = ['begun', 'replacing', 'in-place'] as const;

/**
 * A volume whose bytes are being replaced by an image's, for as long as its run is at it. An available volume stays what it is until
 * then, unless they are written in place; it, and one that was in `error`, is `reimaging`.
 */
export const reimages = pgTable(
  'reimages',
  {
    /** No foreign key: rows of deleted volumes are forgotten by themselves. */
    volumeId: uuid('volume_id').$type<VolumeId>().primaryKey(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    /** Of the new bytes. */
    contentId: uuid('content_id').$type<ContentId>().notNull(),
    imageId: text('image_id').$type<ImageId>().notNull(),
    shortKey: text('short_key').notNull(),
    imageMetadata: jsonb('image_metadata').$type<Record<string, string>>().notNull(),
    /** The new parent, of whose `clones` it is one; null before it has it. */
    entryId: uuid('entry_id')
      .$type<EntryId>()
      .references(() => cacheEntries.id),
    stage: text({ enum: reimageStages }).notNull().default('begun'),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
    startedAt: instant('started_at').notNull().defaultNow(),
  },
  (table) => [
    index('reimages_entry').on(table.entryId),
    index('reimages_backend').on(table.backend),
    check('reimages_stage_known', oneOf(table.stage, reimageStages)),
  ],
);

/** Uploads that hold their volume: it is `uploading` until they have ended. A volume has one at a time. */
export const uploads = pgTable(
  'uploads',
  {
    /** No foreign key: the volume may be deleted by force meanwhile. */
    volumeId: uuid('volume_id').$type<VolumeId>().primaryKey(),
    backend: text()
      .$type<BackendName>()
      .notNull()
      .references(() => backends.name),
    imageId: text('image_id').$type<ImageId>().notNull(),
    /** Whether the image service has the image's record. */
    isRecorded: boolean('is_recorded').notNull().default(false),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
    startedAt: instant('started_at').notNull().defaultNow(),
  },
  (table) => [index('uploads_image').on(table.imageId), index('uploads_backend').on(table.backend, table.volumeId)],
);

/** `taking`, `giving-back`: its objects on the backend may be as before or as after. `given-back`: nothing of it is here any more. */
export const importStates = ['taking', 'taken', 'giving-back', 'given-back'] as const;

/** Objects taken over from another service, so that they can be given back. No foreign keys: an import that has been worked with survives its object. */
export const imports = pgTable(
  'imports',
  {
    kind: text({ enum: importedKinds }).notNull(),
    /** Id of the volume, the snapshot, the type or the entry; project and name of the quota. */
    object: text().notNull(),
    backend: text().$type<BackendName>(),
    /** Database of the service, without a password. */
    source: text().notNull(),
    state: text({ enum: importStates }).notNull().default('taking'),
    /** Of the workflow that has taken it over, or given it back, last. */
    runId: text('run_id').notNull(),
    /** As it was when it was taken over. */
    detail: jsonb().$type<ImportedDetail>().notNull().default({}),
    /** With the row that it was taken over as, whose later changes are known by their time. */
    importedAt: instant('imported_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.kind, table.object] }),
    index('imports_backend').on(table.backend, table.kind, table.object),
    check('imports_kind', oneOf(table.kind, importedKinds)),
    check('imports_state', oneOf(table.state, importStates)),
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
    /** The requester, and the id of the request, as the caller says. */
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
  },
  (table) => [
    unique('decisions_one_a_run').on(table.workflowId, table.runId),
    index('decisions_at').on(table.at),
    index('decisions_volume').on(table.volumeId),
    index('decisions_image').on(table.imageId, table.at),
    index('decisions_project').on(table.projectId, table.at),
    index('decisions_entry').on(table.entryId),
    // Few of many: those that messages tell of.
    index('decisions_failed')
      .on(table.at)
      .where(sql`${table.outcome} = 'failed' and ${table.errorType} is not null`),
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
    /** One sentence for people: the finding, or the requester. */
    detail: text(),
    /** Bytes that it gave back, or takes. */
    bytes: bytes('bytes'),
    /** Workflow id of whom it was done for. */
    workflowId: text('workflow_id'),
    /** The requester, as the caller says; null: the cache by itself. */
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
  },
  (table) => [
    index('entry_events_entry').on(table.entryId, table.id),
    index('entry_events_at').on(table.at),
    check('entry_events_kind', oneOf(table.kind, entryEventKinds)),
  ],
);

/**
 * Events of volumes after their creates, of which decisions tell, and actions of operators. No foreign
 * keys: it survives what it describes.
 */
export const events = pgTable(
  'events',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    at: instant('at').notNull().defaultNow(),
    // Without a check: a newer worker's kinds need no other table.
    kind: text().$type<EventKind>().notNull(),
    /** Id or name of what it happened to. */
    object: text().notNull(),
    /** The requester, and the id of the request, as the caller says. */
    requestedBy: text('requested_by'),
    requestId: text('request_id'),
    /** Owns the volume. */
    projectId: text('project_id').$type<ProjectId>(),
    volumeId: uuid('volume_id').$type<VolumeId>(),
    imageId: text('image_id').$type<ImageId>(),
    entryId: uuid('entry_id').$type<EntryId>(),
    backend: text().$type<BackendName>(),
    /** The change; no secrets. */
    detail: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    workflowId: text('workflow_id').notNull(),
    runId: text('run_id').notNull(),
  },
  (table) => [
    unique('events_once').on(table.workflowId, table.runId, table.kind, table.object),
    index('events_at').on(table.at),
    index('events_volume').on(table.volumeId),
    index('events_image').on(table.imageId, table.at),
    index('events_project').on(table.projectId, table.at),
    index('events_failed').on(table.at).where(oneOf(table.kind, failedKinds)),
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
export type AttachmentRow = InferSelectModel<typeof attachments>;
export type SnapshotRow = InferSelectModel<typeof snapshots>;
export type TransferRow = InferSelectModel<typeof transfers>;
export type PointerRow = InferSelectModel<typeof imagePointers>;
export type UploadRow = InferSelectModel<typeof uploads>;
export type ReimageRow = InferSelectModel<typeof reimages>;
export type VolumeTypeRow = InferSelectModel<typeof volumeTypes>;
export type VolumeRow = InferSelectModel<typeof volumes>;
export type ScratchFileRow = InferSelectModel<typeof scratchFiles>;
export type EntryEventRow = InferSelectModel<typeof entryEvents>;
export type FollowRow = InferSelectModel<typeof follows>;
export type DecisionRow = InferSelectModel<typeof decisions>;
export type EventRow = InferSelectModel<typeof events>;
export type ImportRow = InferSelectModel<typeof imports>;
