/** Branded strings: an id of one kind cannot stand where another is meant. */
type Branded<Brand extends string> = string & { readonly __brand: Brand };

export type ImageId = Branded<'ImageId'>;
export type VolumeId = Branded<'VolumeId'>;
/** Of the bytes of a volume that have taken the place of others. */
export type ContentId = Branded<'ContentId'>;
export type SnapshotId = Branded<'SnapshotId'>;
/** Of an offer of a volume to another project. */
export type TransferId = Branded<'TransferId'>;
export type EntryId = Branded<'EntryId'>;
export type ProjectId = Branded<'ProjectId'>;
export type BackendName = Branded<'BackendName'>;
export type FollowId = Branded<'FollowId'>;
export type HostId = Branded<'HostId'>;
export type InstallationId = Branded<'InstallationId'>;

/** Shape of every UUID this project accepts: lower-case hex with hyphens, as RFC 9562 prints it. */
export const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Shape of a backend's name: it is part of task queues, workflow ids and paths. */
export const backendNamePattern = /^[a-z0-9][a-z0-9-]{0,39}$/;
