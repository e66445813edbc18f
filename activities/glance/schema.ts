import { z } from 'zod';
import type { ImageId, ProjectId } from '../../workflows/contract/ids';
import { toStorableText } from '../../workflows/contract/storable-text';
import { imageStatuses, type Image } from '../../workflows/contract/image';
import type { ImageMember } from './image-service';

const byteCount = z.int().nonnegative();
const imageId = z.custom<ImageId>((value) => typeof value === 'string' && value !== '');
const projectId = z.custom<ProjectId>((value) => typeof value === 'string');

const recordSchema = z.looseObject({
  id: imageId,
  status: z.enum(imageStatuses),
  name: z.string().nullish(),
  visibility: z.string().default('private'),
  owner: projectId.nullish(),
  container_format: z.string().nullish(),
  disk_format: z.string().nullish(),
  size: byteCount.nullish(),
  virtual_size: byteCount.nullish(),
  min_disk: byteCount.default(0),
  min_ram: byteCount.default(0),
  checksum: z.string().nullish(),
  os_hash_algo: z.string().nullish(),
  os_hash_value: z.string().nullish(),
  os_hidden: z.boolean().default(false),
  protected: z.boolean().default(false),
  tags: z.array(z.string()).default([]),
  created_at: z.string(),
  updated_at: z.string(),
});

/** An image as the OpenStack Image API v2 shows it: https://docs.openstack.org/api-ref/image/v2/#show-image. Turned into our `Image` at once. */
export const imageSchema = z.preprocess(withStorableText, recordSchema).transform((record): Image => ({
  id: record.id,
  name: record.name ?? null,
  status: record.status,
  visibility: record.visibility,
  owner: record.owner ?? null,
  containerFormat: record.container_format ?? null,
  diskFormat: record.disk_format ?? null,
  sizeBytes: record.size ?? null,
  // Of a compressed image it would be the size of what is in the file, not of the disk.
  virtualSizeBytes: record.container_format === 'compressed' ? null : (record.virtual_size ?? null),
  minDiskGiB: record.min_disk,
  minRamMiB: record.min_ram,
  checksum: record.checksum?.toLowerCase() ?? null,
  hashAlgorithm: record.os_hash_algo ?? null,
  hashValue: record.os_hash_value?.toLowerCase() ?? null,
  hidden: record.os_hidden,
  protected: record.protected,
  tags: record.tags,
  createdAt: record.created_at,
  updatedAt: record.updated_at,
  properties: propertiesOf(record),
}));

/** The most locations that are looked at, and characters of one: a record may name any number. */
const MAX_LOCATIONS = 20;
const MAX_LOCATION_CHARACTERS = 1000;

/** Where the service keeps an image's bytes, as far as it says so: URLs that name its stores, never to be shown to users. */
export const locationsSchema = z
  .looseObject({ direct_url: z.string().nullish(), locations: z.array(z.looseObject({ url: z.string() })).nullish() })
  .transform(({ direct_url, locations }) =>
    boundedUrls([...(typeof direct_url === 'string' ? [direct_url] : []), ...(locations ?? []).map(({ url }) => url)]),
  );

/** The same as API 2.17 tells it to services; none where it is told in another way, since it is of use and never needed. Source: `GET /v2/images/{image_id}/locations` of Glance's API reference. */
export const serviceLocationsSchema = z
  .array(z.looseObject({ url: z.string() }))
  .catch([])
  .transform((locations) => boundedUrls(locations.map(({ url }) => url)));

/** Whether the service is still at work on an image's bytes. Source: `_ImageLock` in Glance's `async_/flows/api_image_import.py`. */
export const importSchema = z
  .looseObject({ status: z.enum(imageStatuses), os_glance_import_task: z.string().optional() })
  .transform(({ status, os_glance_import_task: task }) => ({
    status,
    isAtWork: status === 'importing' || (status === 'queued' && task !== undefined),
  }));

function boundedUrls(urls: readonly string[]): string[] {
  return [...new Set(urls)].filter((url) => url.length <= MAX_LOCATION_CHARACTERS).slice(0, MAX_LOCATIONS);
}

/** https://docs.openstack.org/api-ref/image/v2/#list-image-members; it has no pages. */
export const membersSchema = z
  .looseObject({
    members: z.array(z.looseObject({ member_id: projectId, status: z.enum(['pending', 'accepted', 'rejected']) })),
  })
  .transform(({ members }) => members.map(({ member_id, status }): ImageMember => ({ projectId: member_id, status })));

/** A page of images; `next` is a path whose query holds the marker of the page that follows. */
export const imagePageSchema = z
  .looseObject({ images: z.array(imageSchema), next: z.string().optional() })
  .transform(({ images, next }) => ({ images, nextMarker: markerOf(next) }));

/** Fields of the API that are no properties of the image, beside those the schema names. `stores`, `locations`, `direct_url`: where its bytes are. */
const noProperties = new Set(['self', 'file', 'schema', 'stores', 'locations', 'direct_url', 'validation_data']);

/** Glance's own properties, of an import or a copy that runs or has run. Source: its `glance/api/v2/images.py`. */
const RESERVED_PREFIX = 'os_glance_';

/** An uploader's text: characters that we could not store are replaced where they come in. */
function withStorableText(value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (Array.isArray(value)) return value.map(withStorableText);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [toStorableText(key), withStorableText(own)]));
}

function propertiesOf(record: Record<string, unknown>): Record<string, string> {
  const known = new Set(Object.keys(recordSchema.shape));
  return Object.fromEntries(
    Object.entries(record).filter(
      (entry): entry is [string, string] =>
        typeof entry[1] === 'string' &&
        !known.has(entry[0]) &&
        !noProperties.has(entry[0]) &&
        !entry[0].startsWith(RESERVED_PREFIX),
    ),
  );
}

function markerOf(next: string | undefined): string | undefined {
  if (next === undefined) return undefined;
  return new URLSearchParams(next.slice(next.indexOf('?') + 1)).get('marker') ?? undefined;
}
