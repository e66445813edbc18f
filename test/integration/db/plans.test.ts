import { fillInventory, type Filling } from '../../support/database/fill-inventory';
import { createMigratedDatabase, type MigratedDatabase } from '../../support/database/database';
import {
  connectExplained,
  type ExplainedDatabase,
  type ExplainedStatement,
} from '../../support/database/explained-database';
import { inventoryWorks } from '../../support/database/inventory-work';
import { BACKEND } from '../../support/database/rows';

/** Enough for the planner to have a choice, and few enough to be there at once. */
const FILLING: Filling = { backend: BACKEND, entries: 200, volumes: 4000 };
/** From its sixth time on a prepared statement may be run by one plan for all values. */
const TIMES = 8;
/** Tables of a row a backend, or of a few standing orders. */
const smallTables = ['backends', 'follows', 'installation'];

let migrated: MigratedDatabase;
let explained: ExplainedDatabase;

beforeAll(async () => {
  migrated = await createMigratedDatabase();
  await fillInventory(migrated.database, FILLING);
  await migrated.database.sql`vacuum analyze`;
  // A statement that has an index to use takes it then; one that has none still reads the whole table.
  explained = connectExplained(migrated.url, { enable_seqscan: 'off', enable_bitmapscan: 'off', jit: 'off' });
});
afterAll(async () => {
  await explained?.database.close();
  await migrated.drop();
});

const names = inventoryWorks({} as never, FILLING).map(({ name }) => name);

describe('every statement that grows with the inventory has an index to use', () => {
  it.each(names)('%s', async (name) => {
    const work = inventoryWorks(explained.database, FILLING).find((candidate) => candidate.name === name);
    let plans: ExplainedStatement[] = [];
    for (let n = 1; n <= TIMES; n += 1) {
      await work?.prepare?.(n);
      explained.takePlans();
      await work?.run(n);
      plans = explained.takePlans();
      await work?.undo?.(n);
    }
    expect(plans.length).toBeGreaterThan(0);
    expect(plans.flatMap(tablesReadWhole)).toEqual([]);
    const sorted = plans.filter(({ plan }) => work?.ordered && /\bSort\b/.test(plan));
    expect(sorted).toEqual([]);
  });
});

function tablesReadWhole({ text, plan }: ExplainedStatement): string[] {
  const tables = [...plan.matchAll(/Seq Scan on (\w+)/g)].map(([, table = '']) => table);
  return tables.filter((table) => !smallTables.includes(table)).map((table) => `${table}: ${text}`);
}
