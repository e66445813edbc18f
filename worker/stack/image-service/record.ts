import { z } from 'zod';
import { isStorableText } from '../../../workflows/contract/storable-text';
import { HttpError } from './http';
import { describeFirstIssue } from '../../../lib/issue-words';

/** Formats that Glance accepts by default (its `disk_formats` and `container_formats`). */
const diskFormats = ['ami', 'ari', 'aki', 'vhd', 'vhdx', 'vmdk', 'raw', 'qcow2', 'vdi', 'iso', 'ploop'] as const;
const containerFormats = ['ami', 'ari', 'aki', 'bare', 'ovf', 'ova', 'docker', 'compressed'] as const;

const name = z.string().max(255).nullable();
const tag = z.string().min(1).max(255);
const count = z.int().min(0).max(2_147_483_647);

/** The fields that an uploader may set, by Glance's names; their schema is `/v2/schemas/image`. */
const editableFields = {
  name,
  disk_format: z.enum(diskFormats).nullable(),
  container_format: z.enum(containerFormats).nullable(),
  visibility: z.enum(['community', 'public', 'private', 'shared']),
  protected: z.boolean(),
  min_disk: count,
  min_ram: count,
  os_hidden: z.boolean(),
  tags: z
    .array(tag)
    .max(128)
    .transform((tags) => [...new Set(tags)].sort()),
};

const readOnlyFields = {
  status: z.enum(['queued', 'saving', 'active', 'deactivated', 'deleted']),
  size: z.number().nullable(),
  virtual_size: z.number().nullable(),
  checksum: z.string().nullable(),
  os_hash_algo: z.string().nullable(),
  os_hash_value: z.string().nullable(),
  created_at: z.string(),
  updated_at: z.string(),
};

const idField = { id: z.string().regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/) };
const properties = z.record(z.string().min(1).max(255), z.string().max(65_535));

/** Every caller is an administrator, as at a Glance without Keystone: he says whose an image is, when he makes it. */
const ownerField = { owner: z.string().max(255).nullable() };

const newImageSchema = z.strictObject({ ...idField, ...ownerField, ...editableFields, properties });
const editedImageSchema = z.strictObject({ ...editableFields, properties });

/** An image as it is kept on disk. A `deleted` one stays as its record alone, so that an id is never used twice. */
export const storedImageSchema = z.object({
  ...idField,
  /** Order of creation: dates have whole seconds only. Not shown. */
  sequence: z.int(),
  ...editableFields,
  ...ownerField,
  ...readOnlyFields,
  properties,
  /** Those it was shared with; they are asked for by themselves. */
  members: z
    .array(
      z.object({
        member_id: z.string(),
        status: z.enum(['pending', 'accepted', 'rejected']),
        created_at: z.string(),
        updated_at: z.string(),
      }),
    )
    .default([]),
});
export type RecordedImage = z.output<typeof storedImageSchema>;
export type EditableImage = z.output<typeof editedImageSchema>;

const readOnlyNames = new Set([
  ...Object.keys(readOnlyFields),
  ...Object.keys(ownerField),
  'self',
  'file',
  'schema',
  'stores',
  'locations',
  'direct_url',
]);

/** @throws HttpError 400, 403 (a field that is the service's to set). */
export function parseNewImage(
  body: unknown,
  { generatedId, sequence }: { generatedId: string; sequence: number },
): RecordedImage {
  const given = z.record(z.string(), z.unknown()).safeParse(body);
  if (!given.success) throw new HttpError(400, 'Expected a JSON object.');
  const fields = splitFields(given.data, Object.keys({ ...idField, ...ownerField, ...editableFields }));
  const defaults = {
    id: generatedId,
    owner: null,
    name: null,
    disk_format: null,
    container_format: null,
    visibility: 'shared',
    protected: false,
  };
  const numbers = { min_disk: 0, min_ram: 0, os_hidden: false, tags: [] };
  const image = parse(newImageSchema, { ...defaults, ...numbers, ...fields });
  const now = timestamp();
  const dates = { created_at: now, updated_at: now };
  const data = { size: null, virtual_size: null, checksum: null, os_hash_algo: null, os_hash_value: null };
  return { ...image, ...data, ...dates, sequence, status: 'queued', members: [] };
}

/** @throws HttpError 400, when the edited values are none that an image may have. */
export function parseEditedImage(edited: unknown): EditableImage {
  return parse(editedImageSchema, edited);
}

export function isEditableField(field: string): field is keyof typeof editableFields {
  return Object.hasOwn(editableFields, field);
}

/** @throws HttpError 403. */
export function refuseReadOnly(field: string): void {
  if (field === 'id' || readOnlyNames.has(field)) throw new HttpError(403, `Attribute '${field}' is read-only.`);
}

/** An image as the API shows it. */
export function showImage(image: RecordedImage): Record<string, unknown> {
  const { properties: own, sequence: _sequence, members: _members, ...fields } = image;
  const self = `/v2/images/${fields.id}`;
  const stores = fields.status === 'queued' || fields.status === 'saving' ? {} : { stores: 'file' };
  return { ...own, ...fields, self, file: `${self}/file`, schema: '/v2/schemas/image', ...stores };
}

/** RFC 3339 in whole seconds, as Glance prints it. */
export function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function splitFields(given: Record<string, unknown>, known: string[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  const own: [string, unknown][] = [];
  for (const [key, value] of Object.entries(given)) {
    if (known.includes(key)) fields[key] = value;
    else {
      refuseReadOnly(key);
      own.push([key, value]);
    }
  }
  return { ...fields, properties: Object.fromEntries(own) };
}

/** In names and tags of images, and in names and values of properties. */
function refuseUnstorable(value: unknown, path: string[] = []): void {
  if (typeof value === 'string' && !isStorableText(value))
    throw new HttpError(400, `${path.join('.')}: text must be well-formed and without NUL characters.`);
  if (typeof value !== 'object' || value === null) return;
  for (const [key, own] of Object.entries(value)) {
    refuseUnstorable(key, [...path, 'name of a property']);
    refuseUnstorable(own, [...path, key]);
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  refuseUnstorable(value);
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HttpError(400, `Provided object does not match schema 'image': ${describeFirstIssue(parsed.error)}`);
}
