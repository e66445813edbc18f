import { sql, type SQL } from 'drizzle-orm/sql';
import type { ImageId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';

interface CacheKeyColumns {
  shortKey: string;
  containerFormat: string;
  diskFormat: string;
  hashAlgorithm: string;
  hashValue: string;
  keyImageId: ImageId | null;
  keySignature: string | null;
}

/** The order in which `keyValues` writes a key. */
export const keyColumnNames = sql.raw(
  'short_key, container_format, disk_format, hash_algorithm, hash_value, key_image_id, key_signature',
);

export function keyValues(key: CacheKey): SQL {
  return sql`${key.short}, ${key.containerFormat}, ${key.diskFormat}, ${key.hashAlgorithm}, ${key.hashValue}, ${key.imageId ?? null}, ${key.signature ?? null}`;
}

/** Whether the row `alias` has exactly this key; the short key alone is no proof. */
export function hasKey(alias: string, key: CacheKey): SQL {
  const row = sql.identifier(alias);
  return sql`(${row}.container_format, ${row}.disk_format, ${row}.hash_algorithm, ${row}.hash_value, coalesce(${row}.key_image_id, ''),
    coalesce(${row}.key_signature, '')) = (${key.containerFormat}::text, ${key.diskFormat}::text, ${key.hashAlgorithm}::text, ${key.hashValue}::text, ${key.imageId ?? ''}::text, ${key.signature ?? ''}::text)`;
}

export function isSameKey(row: CacheKeyColumns, key: CacheKey): boolean {
  return (
    row.shortKey === key.short &&
    row.containerFormat === key.containerFormat &&
    row.diskFormat === key.diskFormat &&
    row.hashAlgorithm === key.hashAlgorithm &&
    row.hashValue === key.hashValue &&
    row.keyImageId === (key.imageId ?? null) &&
    row.keySignature === (key.signature ?? null)
  );
}
