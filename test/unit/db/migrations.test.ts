import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api';
import * as schema from '../../../db/schema';

const meta = join(__dirname, '../../../db/migrations/meta');

test('the committed migrations make the schema as it is', async () => {
  const journal = JSON.parse(readFileSync(join(meta, '_journal.json'), 'utf8')) as { entries: { idx: number }[] };
  const last = String(journal.entries.at(-1)?.idx ?? 0).padStart(4, '0');
  const migrated = JSON.parse(readFileSync(join(meta, `${last}_snapshot.json`), 'utf8')) as ReturnType<
    typeof generateDrizzleJson
  >;
  expect(await generateMigration(migrated, generateDrizzleJson(schema))).toEqual([]);
});
