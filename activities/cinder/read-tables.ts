import { z } from 'zod';
import { CinderDatabaseError, readCinderDatabase, type CinderReader } from './client';
import type { CinderUrl } from './cinder-url';
import { cinderRows, type CinderTable, type CinderTables } from './schema';

/** Conditions by which rows that were deleted are not read: some tables have no such mark, or need another one. */
const conditions: Partial<Record<CinderTable, string>> = {
  // No soft deletes there.
  image_volume_cache_entries: 'true',
  volume_type_projects: 'deleted = 0',
  volume_glance_metadata: 'deleted = false and volume_id is not null',
  services: 'deleted = false and "binary" = \'cinder-volume\'',
  volume_attachment: 'deleted = false and volume_id is not null',
  quotas: 'deleted = false and hard_limit is not null and project_id is not null',
  quota_classes: 'deleted = false and hard_limit is not null',
};

/**
 * Reads what Cinder has, as it was at one moment, and changes nothing.
 * @throws CinderDatabaseError, also for tables of another shape than Cinder's.
 */
export async function readCinderTables(url: CinderUrl): Promise<CinderTables> {
  return await readCinderDatabase(url, async (reader) => {
    const tables: Partial<Record<CinderTable, unknown>> = {};
    for (const table of Object.keys(cinderRows) as CinderTable[]) tables[table] = await readTable(reader, table);
    return tables as CinderTables;
  });
}

async function readTable(reader: CinderReader, table: CinderTable): Promise<unknown[]> {
  const schema = cinderRows[table];
  const columns = Object.keys(schema.shape).map((column) =>
    column === 'seconds' ? `${reader.secondsSince('updated_at')} as seconds` : `"${column}"`,
  );
  const rows = await reader.query(
    `select ${columns.join(', ')} from "${table}" where ${conditions[table] ?? 'deleted = false'}`,
  );
  const parsed = z.array(schema as z.ZodType).safeParse(rows);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const [row, ...path] = issue?.path ?? [];
  throw new CinderDatabaseError(
    `Cinder's table ${table} is of another shape: row ${Number(row) + 1}, ${path.join('.')}: ${issue?.message}`,
  );
}
