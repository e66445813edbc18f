import { z } from 'zod';
import { HttpError } from './http';
import { isEditableField, parseEditedImage, refuseReadOnly, type EditableImage, type RecordedImage } from './record';

/** RFC 6902 as far as Glance knows it: one level deep, without move, copy and test. */
export const PATCH_MEDIA_TYPE = 'application/openstack-images-v2.1-json-patch';

const operationSchema = z.union([
  z.object({ op: z.enum(['add', 'replace']), path: z.string(), value: z.unknown() }),
  z.object({ op: z.literal('remove'), path: z.string() }),
]);
type Operation = z.output<typeof operationSchema>;

/**
 * @returns the image's editable fields after all operations. @throws HttpError 400, 403 (not the caller's to set), 409
 * (no such property).
 */
export function patchImage(image: RecordedImage, body: unknown): EditableImage {
  const operations = z.array(operationSchema).max(256).safeParse(body);
  if (!operations.success) throw new HttpError(400, 'Request body must be a JSON array of operation objects.');
  const edited: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(image)) if (isEditableField(field)) edited[field] = value;
  const properties = new Map<string, unknown>(Object.entries(image.properties));
  for (const operation of operations.data) applyOperation(operation, { image, edited, properties });
  return parseEditedImage({ ...edited, properties: Object.fromEntries(properties) });
}

interface Draft {
  image: RecordedImage;
  edited: Record<string, unknown>;
  properties: Map<string, unknown>;
}

function applyOperation(operation: Operation, { image, edited, properties }: Draft): void {
  const field = parsePointer(operation.path);
  refuseReadOnly(field);
  if (isEditableField(field)) {
    refuseFormatChange(field, image);
    if (operation.op === 'remove') throw new HttpError(403, `Property ${field} may not be removed.`);
    edited[field] = operation.value;
    return;
  }
  if (operation.op !== 'add' && !properties.has(field)) throw new HttpError(409, `Property ${field} does not exist.`);
  if (operation.op === 'remove') properties.delete(field);
  else properties.set(field, operation.value);
}

function refuseFormatChange(field: string, { status }: RecordedImage): void {
  if ((field === 'disk_format' || field === 'container_format') && status !== 'queued')
    throw new HttpError(403, `Attribute ${field} can be only replaced for a queued image.`);
}

function parsePointer(path: string): string {
  const match = /^\/([^/]+)$/.exec(path);
  if (match?.[1] === undefined) throw new HttpError(400, `Invalid JSON pointer for this resource: '${path}'`);
  return match[1].replaceAll('~1', '/').replaceAll('~0', '~');
}
