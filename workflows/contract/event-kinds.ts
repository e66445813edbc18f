/** A caller, as it names itself: it is recorded, and nothing is decided by it. */
export interface Caller {
  /** The name or id of a user; 255 characters at most. */
  by?: string;
  /** Of the caller's own request; 255 characters at most. Default: workflow id and run id. */
  requestId?: string;
}

/** Events of volumes after their creates, of snapshots, and of operators' requests. */
const eventKinds = [
  'volume.deleted',
  'volume.delete-refused',
  'volume.changed',
  'volume.offered',
  'volume.offer-ended',
  'volume.transferred',
  'volume.extended',
  'volume.extend-failed',
  'volume.reimaged',
  'volume.reimage-failed',
  'volume.flattened',
  'volume.uploaded',
  'volume.upload-failed',
  'volume.adopted',
  'volume.imported',
  'volume.given-back',
  'volume.repaired',
  'volume.missing',
  'volume.found',
  'volume.reserved',
  'volume.attaching',
  'volume.attached',
  'volume.detaching',
  'volume.detached',
  'snapshot.created',
  'snapshot.create-failed',
  'snapshot.changed',
  'snapshot.deleted',
  'snapshot.shared',
  'snapshot.unshared',
  'warm.requested',
  'seed.requested',
  'evict.requested',
  'limits.set',
  'quotas.set',
  'refusal.forgotten',
  'volume-type.set',
  'volume-type.removed',
  'follow.set',
  'follow.removed',
] as const;
export type EventKind = (typeof eventKinds)[number];

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

/** How creates end, as their decision records tell. */
const createEventKinds = ['volume.created', 'volume.create-refused', 'volume.create-failed'] as const;

/** Every kind, as a list of events names it. */
export const listedEventKinds: readonly string[] = [
  ...createEventKinds,
  ...eventKinds,
  ...entryEventKinds.map((kind) => `entry.${kind}`),
];

/** Longest name of a user and id of a request. */
export const MAX_CALLER_CHARACTERS = 255;
