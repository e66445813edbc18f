import { uuidPattern } from '../workflows/contract/ids';
import { failureError } from './errors';

/** @returns `id`, which is a UUID in lower case. @throws ImageVolumeCacheError `InvalidRequest` that names `field` */
export function checkUuid(field: string, id: string): string {
  if (uuidPattern.test(id)) return id;
  throw failureError('InvalidRequest', { field, value: id, allowed: 'a UUID in lower case' });
}
