import { sql, type SQL } from 'drizzle-orm';
import type { BackendName } from '../workflows/contract/ids';

/** One clone in so many of a parent's limit, but at least one, is kept for creates that come while the next generation is populated. */
const MARGIN_ONE_IN = 10;
/** A parent of fewer clones has no margin: it would be a large part of it. */
const SMALLEST_WITH_MARGIN = 4;
const NO_LIMIT = 2_147_483_647;

/**
 * @param declared what the worker's own driver declares; default: what the backend's row says of it.
 * @returns how many clones a parent on the backend may have, as SQL: the fewest that the driver, its row and the operator allow.
 */
export function cloneLimitOf(backend: BackendName, declared?: number): SQL {
  return sql`coalesce((select least(${declared ?? null}::int, (b.capabilities ->> 'cloneLimit')::int, b.clone_limit) from backends b
    where b.name = ${backend}), ${sql.raw(String(NO_LIMIT))})`;
}

/** @returns from how many clones on a parent is near its `limit`, so that its key's next generation is populated before it is needed. */
export function nearCloneLimit(limit: SQL): SQL {
  const [oneIn, smallest] = [MARGIN_ONE_IN, SMALLEST_WITH_MARGIN].map((value) => sql.raw(String(value)));
  return sql`(${limit} - case when ${limit} < ${smallest} then 0 else greatest(${limit} / ${oneIn}, 1) end)`;
}
