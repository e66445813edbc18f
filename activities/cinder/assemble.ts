import { GiB } from '../../workflows/contract/bytes';
import {
  endedAttachmentStatuses,
  type CinderAttachment,
  type CinderLeftover,
  type CinderProjectQuota,
  type CinderSnapshot,
  type CinderVolume,
  type CinderVolumeType,
} from '../../workflows/contract/cinder-import';
import type { CinderRow, CinderTables } from './schema';

/** Cinder's contents, as a request has them. */
export interface CinderContents {
  volumes: CinderVolume[];
  types: CinderVolumeType[];
  quotas: CinderProjectQuota[];
  leftovers: CinderLeftover[];
  /** Volume services that have reported this many seconds ago, and may write. */
  services: { host: string; seconds: number }[];
}

/** Of the default class, what limits something that there is here too. */
const limiting: readonly string[] = ['volumes', 'gigabytes', 'snapshots', 'per_volume_gigabytes'];

/** Pure. @returns the rows as objects, volumes in the order in which they were made. */
export function assembleCinder(tables: CinderTables): CinderContents {
  const own = groupBy(tables.volume_metadata, ({ volume_id }) => volume_id);
  const ofAdministrators = groupBy(tables.volume_admin_metadata, ({ volume_id }) => volume_id);
  const ofImages = groupBy(tables.volume_glance_metadata, ({ volume_id }) => volume_id);
  const snapshotMetadata = groupBy(tables.snapshot_metadata, ({ snapshot_id }) => snapshot_id);
  const snapshots = groupBy(tables.snapshots, ({ volume_id }) => volume_id);
  const attachments = groupBy(tables.volume_attachment, ({ volume_id }) => volume_id);
  const cached = new Map(tables.image_volume_cache_entries.map(({ volume_id, image_id }) => [volume_id, image_id]));
  const volumeOf = (row: CinderRow<'volumes'>): CinderVolume => {
    // Cinder keeps it there for its own use, and shows it among the metadata of the volume.
    const admin = recordOf(ofAdministrators.get(row.id));
    return {
      volumeId: row.id,
      projectId: row.project_id,
      userId: row.user_id,
      name: nonEmpty(row.display_name),
      description: nonEmpty(row.display_description),
      sizeBytes: row.size * GiB,
      status: row.status,
      host: row.host,
      nameId: row._name_id,
      migrationStatus: row.migration_status,
      replicationStatus: row.replication_status,
      isEncrypted: row.encryption_key_id !== null,
      isGrouped: (row.group_id ?? row.consistencygroup_id) !== null,
      volumeTypeId: row.volume_type_id,
      bootable: row.bootable,
      multiattach: row.multiattach,
      readOnly: admin['readonly']?.toLowerCase() === 'true',
      metadata: recordOf(own.get(row.id)),
      imageMetadata: recordOf(ofImages.get(row.id)),
      createdAt: row.created_at,
      attachments: (attachments.get(row.id) ?? []).flatMap(attachmentOf),
      snapshots: (snapshots.get(row.id) ?? []).map((snapshot) =>
        snapshotOf(snapshot, recordOf(snapshotMetadata.get(snapshot.id))),
      ),
      cachedImageId: cached.get(row.id) ?? null,
    };
  };
  return {
    volumes: [...tables.volumes].sort((a, b) => a.created_at.localeCompare(b.created_at)).map(volumeOf),
    types: typesOf(tables),
    quotas: tables.quotas.map(({ project_id, resource, hard_limit }) => ({
      projectId: project_id,
      resource,
      limit: hard_limit,
    })),
    leftovers: [...tables.backups.map(backupOf), ...tables.quota_classes.flatMap(defaultOf)],
    services: tables.services.map(({ host, seconds }) => ({ host, seconds: seconds ?? Infinity })),
  };
}

function snapshotOf(row: CinderRow<'snapshots'>, metadata: Record<string, string>): CinderSnapshot {
  return {
    snapshotId: row.id,
    name: nonEmpty(row.display_name),
    description: nonEmpty(row.display_description),
    metadata,
    sizeBytes: row.volume_size * GiB,
    status: row.status,
    isGrouped: (row.group_snapshot_id ?? row.cgsnapshot_id) !== null,
    createdAt: row.created_at,
  };
}

function attachmentOf(row: CinderRow<'volume_attachment'>): CinderAttachment[] {
  if (endedAttachmentStatuses.includes(row.attach_status)) return [];
  const { attach_mode: mode } = row;
  return [
    {
      attachmentId: row.id,
      instanceId: row.instance_uuid,
      hostName: row.attached_host,
      mountpoint: row.mountpoint,
      // A word too where there is none.
      mode: mode === 'rw' || mode === 'ro' ? mode : null,
      status: row.attach_status,
      connector: row.connector,
      createdAt: row.created_at,
      attachedAt: row.attach_time,
    },
  ];
}

function typesOf(tables: CinderTables): CinderVolumeType[] {
  const specs = groupBy(tables.volume_type_extra_specs, ({ volume_type_id }) => volume_type_id);
  const projects = groupBy(tables.volume_type_projects, ({ volume_type_id }) => volume_type_id);
  const encryption = new Map(tables.encryption.map((row) => [row.volume_type_id, row]));
  return tables.volume_types.map(({ id, name, description, is_public: isPublic, qos_specs_id: qosSpecsId }) => {
    const encrypted = encryption.get(id);
    return {
      volumeTypeId: id,
      name,
      description: nonEmpty(description),
      isPublic,
      extraSpecs: recordOf(specs.get(id)),
      projects: (projects.get(id) ?? []).map(({ project_id }) => project_id),
      encryption:
        encrypted === undefined
          ? null
          : {
              encryptionId: encrypted.encryption_id,
              provider: encrypted.provider,
              controlLocation: encrypted.control_location === 'back-end' ? 'back-end' : 'front-end',
              cipher: encrypted.cipher,
              keySize: encrypted.key_size,
            },
      qosSpecsId,
    };
  });
}

function backupOf({ id, volume_id, project_id, display_name }: CinderRow<'backups'>): CinderLeftover {
  const reason = `backups are Cinder's alone; its volume is ${volume_id}`;
  return { kind: 'backup', object: id, name: nonEmpty(display_name), projectId: project_id, reason };
}

function defaultOf({ class_name, resource, hard_limit }: CinderRow<'quota_classes'>): CinderLeftover[] {
  if (class_name !== 'default' || hard_limit < 0 || !limiting.includes(resource)) return [];
  const reason = `${hard_limit} for every project without its own: \`quotas\` of temporal.yaml says so here`;
  return [{ kind: 'quota-default', object: resource, name: null, projectId: null, reason }];
}

function recordOf(rows: readonly { key: string; value: string | null }[] = []): Record<string, string> {
  return Object.fromEntries(rows.map(({ key, value }) => [key, value ?? '']));
}

function nonEmpty(text: string | null): string | null {
  return text === '' ? null : text;
}

function groupBy<Row, Key>(rows: readonly Row[], keyOf: (row: Row) => Key): Map<Key, Row[]> {
  const groups = new Map<Key, Row[]>();
  for (const row of rows) {
    const group = groups.get(keyOf(row));
    if (group === undefined) groups.set(keyOf(row), [row]);
    else group.push(row);
  }
  return groups;
}
