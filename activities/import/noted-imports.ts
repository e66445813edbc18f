import { listImports } from '../../db/imports';
import type { ImportRow } from '../../db/schema';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

const PAGE = 200;

/** Yields what was taken over and is to be given back, what an earlier try of this run has given back included; read in pages, by id. */
export async function* notedImports(
  { database }: Pick<ControlDependencies, 'database'>,
  listed: Pick<Parameters<typeof listImports>[1], 'kind' | 'backend' | 'source'>,
): AsyncGenerator<ImportRow> {
  const { runId } = workflowExecution();
  for (let after: string | undefined; ;) {
    const page = await listImports(database, { ...listed, runId, after, limit: PAGE });
    yield* page;
    after = page.at(-1)?.object;
    if (page.length < PAGE) return;
  }
}
