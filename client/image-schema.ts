import { z } from 'zod';
import type { ImageId, ProjectId } from '../workflows/contract/ids';
import { imageStatuses, type Image } from '../workflows/contract/image';

const count = z.int().nonnegative();

/**
 * An image as the OpenStack Image API v2 shows it, turned into our `Image` at once. The workers' adapter has its own: this side loads none of their code.
 */
export const imageSchema = z
  .object({
    id: z.custom<ImageId>((value) => typeof value === 'string' && value !== ''),
    name: z.string().nullish(),
    status: z.enum(imageStatuses),
    visibility: z.string().default('private'),
    owner: z.custom<ProjectId>((value) => typeof value === 'string').nullish(),
    container_format: z.string().nullish(),
    disk_format: z.string().nullish(),
    size: count.nullish(),
    virtual_size: count.nullish(),
    min_disk: count.default(0),
    min_ram: count.default(0),
    checksum: z.string().nullish(),
    os_hash_algo: z.string().nullish(),
    os_hash_value: z.string().nullish(),
    os_hidden: z.boolean().default(false),
    protected: z.boolean().default(false),
    tags: z.array(z.string()).default([]),
    created_at: z.string(),
    updated_at: z.string(),
    // Of the API, and no properties of the image.
    self: z.unknown().optional(),
    file: z.unknown().optional(),
    schema: z.unknown().optional(),
    stores: z.unknown().optional(),
    locations: z.unknown().optional(),
    direct_url: z.unknown().optional(),
  })
  .catchall(z.unknown())
  .transform(({ id, name, status, visibility, owner, tags, protected: isProtected, ...record }): Image => ({
    id,
    name: name ?? null,
    status,
    visibility,
    owner: owner ?? null,
    containerFormat: record.container_format ?? null,
    diskFormat: record.disk_format ?? null,
    sizeBytes: record.size ?? null,
    virtualSizeBytes: record.virtual_size ?? null,
    minDiskGiB: record.min_disk,
    minRamMiB: record.min_ram,
    checksum: record.checksum ?? null,
    hashAlgorithm: record.os_hash_algo ?? null,
    hashValue: record.os_hash_value ?? null,
    hidden: record.os_hidden,
    protected: isProtected,
    tags,
    createdAt: record.created_at,
    updatedAt: record.updated_at,
    properties: propertiesOf(record),
  }));

/** A page of images; `next` is a path whose query holds the marker of the page that follows. */
export const imagePageSchema = z
  .object({ images: z.array(imageSchema), next: z.string().optional() })
  .transform(({ images, next }) => ({ images, nextMarker: findMarker(next) }));

/** `GET /admin/counters`, which only the local image service has. */
export const countersSchema = z.object({ images: z.record(z.string(), z.object({ downloads: count })) });

/** Every text that the API does not name itself. */
function propertiesOf(record: Record<string, unknown>): Record<string, string> {
  const known = new Set(Object.keys(imageSchema.in.shape));
  const own = Object.entries(record).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && !known.has(entry[0]),
  );
  return Object.fromEntries(own);
}

function findMarker(next: string | undefined): string | undefined {
  return next === undefined ? undefined : (new URL(next, 'http://localhost').searchParams.get('marker') ?? undefined);
}
