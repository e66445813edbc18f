import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reconcile } from '../../client/reconcile';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** One reconciliation that repairs nothing, and one that adopts. */
export async function recordReconcile(flow: FlowStack, save: Save): Promise<void> {
  const { cache, backend, database, volumesDirectory } = flow.stack;
  const { image } = await flow.upload('reconciled');
  const { volumeId } = await flow.create(image);
  const foreign = join(volumesDirectory, 'volumes', 'notes.txt');
  writeFileSync(foreign, 'mine');
  await save('reconcile', await reconcile(cache, { backend }, { wait: true }));
  rmSync(foreign);
  await database.sql`delete from volumes where id = ${volumeId}`;
  await save('reconcile-adopt', await reconcile(cache, { backend, adopt: true, scrub: true }, { wait: true }));
}
