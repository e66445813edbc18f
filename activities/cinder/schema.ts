import { z } from 'zod';
import type { ImageId, SnapshotId, VolumeId } from '../../workflows/contract/ids';

/* Rows of Cinder's database, as far as they are read. Source: `cinder.db.sqlalchemy.models`, from Train (15) on. */

const branded = <Brand extends string>() => z.custom<Brand>((value) => typeof value === 'string');
const text = z.string().nullable();
/** MySQL has numbers for them. */
const flag = z.union([z.boolean(), z.number(), z.null()]).transform(Boolean);
/** `2026-11-28 11:42:15`, in UTC. */
const time = z.string().transform((at) => new Date(`${at.replace(' ', 'T')}Z`).toISOString());
const sometime = time.nullable();
/** Cinder writes `null` too, as a word. */
const jsonObject = z
  .string()
  .nullable()
  .transform((said, context) => {
    if (said === null || said === '') return null;
    try {
      return z.record(z.string(), z.unknown()).nullable().parse(JSON.parse(said));
    } catch {
      context.addIssue({ code: 'custom', message: 'no JSON object' });
      return z.NEVER;
    }
  });

export const cinderRows = {
  volumes: z.object({
    id: branded<VolumeId>(),
    _name_id: text,
    project_id: z.string(),
    user_id: text,
    display_name: text,
    display_description: text,
    size: z.number(),
    status: z.string(),
    host: text,
    migration_status: text,
    replication_status: text,
    encryption_key_id: text,
    group_id: text,
    consistencygroup_id: text,
    volume_type_id: text,
    bootable: flag,
    multiattach: flag,
    created_at: time,
  }),
  snapshots: z.object({
    id: branded<SnapshotId>(),
    volume_id: branded<VolumeId>(),
    display_name: text,
    display_description: text,
    volume_size: z.number(),
    status: z.string(),
    cgsnapshot_id: text,
    group_snapshot_id: text,
    created_at: time,
  }),
  volume_attachment: z.object({
    id: z.string(),
    volume_id: branded<VolumeId>(),
    instance_uuid: text,
    attached_host: text,
    mountpoint: text,
    attach_mode: text,
    attach_status: z.string(),
    attach_time: sometime,
    connector: jsonObject,
    created_at: time,
  }),
  volume_types: z.object({ id: z.string(), name: z.string(), description: text, is_public: flag, qos_specs_id: text }),
  volume_type_extra_specs: z.object({ volume_type_id: z.string(), key: z.string(), value: text }),
  volume_type_projects: z.object({ volume_type_id: z.string(), project_id: z.string() }),
  encryption: z.object({
    encryption_id: z.string(),
    volume_type_id: z.string(),
    provider: z.string(),
    control_location: z.string(),
    cipher: text,
    key_size: z.number().nullable(),
  }),
  quotas: z.object({ project_id: z.string(), resource: z.string(), hard_limit: z.number() }),
  quota_classes: z.object({ class_name: z.string(), resource: z.string(), hard_limit: z.number() }),
  image_volume_cache_entries: z.object({ image_id: branded<ImageId>(), volume_id: branded<VolumeId>() }),
  volume_metadata: z.object({ volume_id: branded<VolumeId>(), key: z.string(), value: text }),
  snapshot_metadata: z.object({ snapshot_id: branded<SnapshotId>(), key: z.string(), value: text }),
  volume_admin_metadata: z.object({ volume_id: branded<VolumeId>(), key: z.string(), value: text }),
  volume_glance_metadata: z.object({ volume_id: branded<VolumeId>(), key: z.string(), value: text }),
  backups: z.object({ id: z.string(), volume_id: z.string(), project_id: text, display_name: text }),
  services: z.object({ host: z.string(), disabled: flag, seconds: z.number().nullable() }),
};

export type CinderTable = keyof typeof cinderRows;
export type CinderRow<Table extends CinderTable> = z.output<(typeof cinderRows)[Table]>;
/** All that was read. */
export type CinderTables = { [Table in CinderTable]: CinderRow<Table>[] };
