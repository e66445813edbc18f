import { z } from 'zod';

/* Schemas of the answers, stated once: the description of the API shows them, and its tests check the answers against them. Fields that a lower
 * microversion leaves out, and those that only administrators see, are optional. */

const text = z.string();
const nullable = z.string().nullable();
const count = z.int();
const dictionary = z.record(z.string(), z.string());
const links = z.array(z.strictObject({ rel: text, href: text }));
const nothing = z.null();

const attachmentOfVolume = z.strictObject({
  id: text,
  attachment_id: text,
  volume_id: text,
  server_id: nullable,
  host_name: nullable,
  device: nullable,
  attached_at: nullable,
});

const volumeSummary = { id: text, name: nullable, links };
const volumeFields = {
  ...volumeSummary,
  status: text,
  size: count,
  availability_zone: text,
  created_at: text,
  updated_at: nullable,
  description: nullable,
  volume_type: text,
  snapshot_id: nullable,
  source_volid: nullable,
  metadata: dictionary,
  user_id: nullable,
  bootable: text,
  encrypted: z.boolean(),
  replication_status: nullable,
  consistencygroup_id: nullable,
  multiattach: z.boolean(),
  attachments: z.array(attachmentOfVolume),
  migration_status: nothing.optional(),
  group_id: nothing.optional(),
  provider_id: nothing.optional(),
  shared_targets: z.boolean().optional(),
  service_uuid: nothing.optional(),
  cluster_name: nothing.optional(),
  volume_type_id: text.optional(),
  consumes_quota: z.boolean().optional(),
};
const volume = z.strictObject(volumeFields);
const volumeDetail = z.strictObject({
  ...volumeFields,
  'os-vol-tenant-attr:tenant_id': text,
  volume_image_metadata: dictionary.optional(),
  'os-vol-host-attr:host': nullable.optional(),
  'os-vol-mig-status-attr:migstat': nothing.optional(),
  'os-vol-mig-status-attr:name_id': nothing.optional(),
});

const snapshotFields = {
  id: text,
  created_at: text,
  updated_at: nullable,
  name: nullable,
  description: nullable,
  volume_id: text,
  status: text,
  size: count,
  metadata: dictionary,
  group_snapshot_id: nothing.optional(),
  user_id: nullable.optional(),
  consumes_quota: z.boolean().optional(),
};
const snapshotDetail = z.strictObject({
  ...snapshotFields,
  'os-extended-snapshot-attributes:project_id': text,
  'os-extended-snapshot-attributes:progress': text,
});

const message = z.strictObject({
  id: text,
  event_id: text,
  user_message: text,
  message_level: text,
  created_at: text,
  guaranteed_until: text,
  request_id: nullable,
  links,
  resource_type: text,
  resource_uuid: nullable,
});

const type = z.strictObject({
  id: text,
  name: text,
  is_public: z.boolean(),
  description: nullable,
  'os-volume-type-access:is_public': z.boolean().optional(),
  extra_specs: dictionary,
});
const defaultType = z.strictObject({ project_id: text, volume_type_id: text });

/** A limit by Cinder's name of each quota; with its usage where that is asked for. */
const limits = z.record(z.string(), z.union([count, text]));
const quotas = z.record(
  z.string(),
  z.union([count, text, z.strictObject({ limit: count, in_use: count, reserved: count })]),
);

const metadata = z.strictObject({ metadata: dictionary });
const meta = z.strictObject({ meta: dictionary });
const extraSpecs = z.strictObject({ extra_specs: dictionary });

/** By method and path below `/v3/{project_id}`; other calls answer without a body, or with what is Cinder's own. */
export const answers: Readonly<Record<string, z.ZodType>> = {
  'POST /volumes': z.strictObject({ volume }),
  'GET /volumes': z.strictObject({
    volumes: z.array(z.strictObject(volumeSummary)),
    count: count.optional(),
    volumes_links: links.optional(),
  }),
  'GET /volumes/detail': z.strictObject({
    volumes: z.array(volumeDetail),
    count: count.optional(),
    volumes_links: links.optional(),
  }),
  'GET /volumes/summary': z.strictObject({
    'volume-summary': z.strictObject({
      total_count: count,
      total_size: count,
      metadata: z.record(z.string(), z.array(z.string())).optional(),
    }),
  }),
  'GET /volumes/:volume_id': z.strictObject({ volume: volumeDetail }),
  'PUT /volumes/:volume_id': z.strictObject({ volume }),
  ...metadataAt('/volumes/:volume_id'),
  'POST /snapshots': z.strictObject({ snapshot: z.strictObject(snapshotFields) }),
  'GET /snapshots/:snapshot_id': z.strictObject({ snapshot: snapshotDetail }),
  'PUT /snapshots/:snapshot_id': z.strictObject({ snapshot: z.strictObject(snapshotFields) }),
  ...metadataAt('/snapshots/:snapshot_id'),
  'GET /messages': z.strictObject({ messages: z.array(message), messages_links: links.optional() }),
  'GET /messages/:message_id': z.strictObject({ message }),
  'GET /types': z.strictObject({ volume_types: z.array(type) }),
  'POST /types': z.strictObject({ volume_type: type }),
  'GET /types/default': z.strictObject({ volume_type: type }),
  'GET /types/:type_id': z.strictObject({ volume_type: type }),
  'PUT /types/:type_id': z.strictObject({ volume_type: type }),
  'GET /types/:type_id/os-volume-type-access': z.strictObject({
    volume_type_access: z.array(z.strictObject({ volume_type_id: text, project_id: text })),
  }),
  'GET /types/:type_id/extra_specs': extraSpecs,
  'POST /types/:type_id/extra_specs': extraSpecs,
  'GET /types/:type_id/extra_specs/:key': dictionary,
  'PUT /types/:type_id/extra_specs/:key': dictionary,
  'GET /default-types': z.strictObject({ default_types: z.array(defaultType) }),
  'GET /default-types/:target': z.strictObject({ default_type: defaultType }),
  'PUT /default-types/:target': z.strictObject({ default_type: defaultType }),
  'GET /os-quota-sets/:target': z.strictObject({ quota_set: quotas }),
  'GET /os-quota-sets/:target/detail': z.strictObject({ quota_set: quotas }),
  'GET /os-quota-sets/:target/defaults': z.strictObject({ quota_set: limits }),
  'PUT /os-quota-sets/:target': z.strictObject({ quota_set: limits }),
  'GET /os-quota-class-sets/:target': z.strictObject({ quota_class_set: limits }),
  'PUT /os-quota-class-sets/:target': z.strictObject({ quota_class_set: limits }),
  'GET /limits': z.strictObject({
    limits: z.strictObject({ rate: z.array(z.unknown()), absolute: z.record(z.string(), count) }),
  }),
};

function metadataAt(path: string): Record<string, z.ZodType> {
  return {
    [`GET ${path}/metadata`]: metadata,
    [`POST ${path}/metadata`]: metadata,
    [`PUT ${path}/metadata`]: metadata,
    [`GET ${path}/metadata/:key`]: meta,
    [`PUT ${path}/metadata/:key`]: meta,
  };
}
