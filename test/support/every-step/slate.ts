import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EntryState } from '../../../db/schema';
import type { SnapshotState } from '../../../workflows/contract/snapshot';
import type { VolumeState } from '../../../workflows/contract/volume';
import { until } from '../stack/flows';
import type { EveryStepStack } from './step-stack';
import type { World } from './world';

/**
 * Everything of the world has ended: no run is open, every row is in a state that lasts, the lease count is what the rows hold, the backend has
 * exactly what the rows say, nothing is in the scratch, and each create has one decision record.
 */
export async function assertCleanSlate(world: World): Promise<void> {
  await world.untilClosed();
  const { stack, cacheKey, contentHash, creates } = world;
  const sql = stack.database.sql;
  const volumes = await sql<
    { id: string; state: VolumeState; entry_id: string | null; holds_entry: boolean; waits: boolean }[]
  >`
    select id, state, entry_id, holds_entry, waits_for_flight is not null or activity_id is not null as waits
    from volumes where short_key = ${cacheKey.short}`;
  const unfinished = volumes.filter(({ state, waits }) => state === 'creating' || state === 'deleting' || waits);
  expect(unfinished).toEqual([]);

  const snapshots = await sql<{ id: string; state: SnapshotState; entry_id: string | null; holds_entry: boolean }[]>`
    select id, state, entry_id, holds_entry from snapshots
    where volume_id in (select id from volumes where short_key = ${cacheKey.short})`;
  expect(snapshots.filter(({ state }) => state === 'creating' || state === 'deleting')).toEqual([]);

  const entries = await sql<
    { id: string; state: EntryState; clones: number; counted: boolean; image_volume: string }[]
  >`
    select id, state, clones, counted, image_volume from cache_entries where short_key = ${cacheKey.short}`;
  expect(entries.filter(({ state }) => state === 'populating' || state === 'deleting')).toEqual([]);
  expect(entries.filter(({ state, counted }) => state === 'gone' && counted)).toEqual([]);
  const held = (entryId: string) =>
    [...volumes, ...snapshots].filter((row) => row.holds_entry && row.entry_id === entryId).length;
  expect(entries.map(({ id, clones }) => ({ id, clones }))).toEqual(
    entries.map(({ id }) => ({ id, clones: held(id) })),
  );
  const reimages = await sql`select volume_id from reimages where short_key = ${cacheKey.short}`;
  expect([...reimages]).toEqual([]);
  const unanswered = await sql`select flight from populations where short_key = ${cacheKey.short} and verdict is null`;
  expect([...unanswered]).toEqual([]);

  const { listing } = stack;
  for (const [listed, rows] of [
    [await listing.volumes(), volumes],
    [await listing.snapshots(), snapshots],
  ] as const) {
    const available = rows.filter(({ state }) => state === 'available').map(({ id }) => id);
    const all = rows.map(({ id }) => id);
    expect(withPrefix(listed, all)).toEqual(available.sort());
  }
  expect(withPrefix(await listing.imageVolumes(), [`image-volume-${cacheKey.short}`])).toEqual(
    entries
      .filter(({ state }) => state !== 'gone')
      .map(({ image_volume: name }) => name)
      .sort(),
  );
  expect([...(await sql`select users from scratch_files where content_hash = ${contentHash}`)]).toEqual([]);
  expect(withPrefix(await readdir(join(stack.scratchDirectory, 'images')), [contentHash])).toEqual([]);

  const runIds = creates.map(({ runId }) => runId);
  if (runIds.length === 0) return;
  const decisions = await sql<{ run_id: string }[]>`select run_id from decisions where run_id in ${sql(runIds)}`;
  expect(decisions.map(({ run_id: runId }) => runId).sort()).toEqual([...new Set(runIds)].sort());
}

/** Nothing is reserved, nothing is left outside of what the cases looked at, and no run of the stack is open. */
export async function assertStackIsIdle(stack: EveryStepStack): Promise<void> {
  const { client, database, inventory, listing, scratchDirectory } = stack;
  await until('all workflows of the stack to close', async () => {
    const { count } = await client.workflow.count(`TaskQueue = '${stack.taskQueue}' AND ExecutionStatus = 'Running'`);
    return count === 0;
  });
  const [row] = await database.sql<{ bytes: number }[]>`
    select coalesce(sum(real_bytes), 0)::float8 as bytes from cache_entries where state <> 'gone' and counted`;
  expect(await inventory.sums()).toMatchObject({ reservedBytes: 0, bytes: row?.bytes });
  expect([...(await database.sql`select content_hash from scratch_files`)]).toEqual([]);
  expect(await readdir(join(scratchDirectory, 'images'))).toEqual([]);
  expect(await listing.unfinished()).toEqual([]);
}

function withPrefix(names: string[], prefixes: string[]): string[] {
  return names.filter((name) => prefixes.some((prefix) => name.startsWith(prefix))).sort();
}
