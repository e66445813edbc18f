import { randomUUID } from 'node:crypto';
import { existsSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { workflowTypes } from '../../workflows/contract/names';
import type { ReconcileResult } from '../../workflows/contract/reconcile';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import { describeEveryStep, type Act, type Scenario } from '../support/every-step/every-step';
import type { World } from '../support/every-step/world';
import { type EntryRow } from '../../db/schema';

const ofEverything: Scenario = {
  name: 'a reconciliation',
  steps: [
    'planReconcile',
    'reconcileRows',
    'reconcileObjects',
    'recheckPolicy',
    'digestParents',
    'pickHost',
    'reconcileScratch',
  ],
  prepare: async (world) => {
    const [dead, missing, forgotten] = [await available(world), await available(world), await available(world)];
    const partial = join(world.stack.volumesDirectory, 'volumes', `${randomUUID()}.1-abc.partial`);
    await disagree(world, { dead, missing, forgotten, partial });
    const workflowId = `reconcile/${randomUUID()}`;
    return {
      workflowId,
      run: async () => {
        // Work that is left undone is done by the next run.
        if (!isWhole(await runOnce(world, workflowId))) await runOnce(world, `reconcile/${randomUUID()}`);
      },
      check: async () => await expectAgreement(world, { dead, missing, forgotten, partial }),
    } satisfies Act;
  },
};

describe('ReconcileBackend', () => {
  describeEveryStep({ ReconcileBackend: [ofEverything] });
});

interface Disagreement {
  /** Its run is closed and it is still `creating`. */
  dead: CreateVolumeResult;
  /** Its file is gone. */
  missing: CreateVolumeResult;
  /** Its row is gone. */
  forgotten: CreateVolumeResult;
  partial: string;
}

/** Older than the grace age, which protects what the other cases have in the making. */
async function disagree({ stack }: World, { dead, missing, forgotten, partial }: Disagreement): Promise<void> {
  const { sql } = stack.database;
  const { workflowId, runId } = await runTerminated(stack);
  await sql`update volumes set state = 'creating', connection = null, updated_at = now() - interval '1 day', workflow_id = ${workflowId}, run_id = ${runId}
    where id = ${dead.volumeId}`;
  await sql`update volumes set updated_at = now() - interval '1 day' where id = ${missing.volumeId}`;
  rmSync(pathOf(missing));
  await sql`delete from volumes where id = ${forgotten.volumeId}`;
  writeFileSync(partial, 'half');
  utimesSync(partial, new Date(0), new Date(0));
}

/** A run that nobody has worked on. */
async function runTerminated({ client, taskQueue }: World['stack']): Promise<{ workflowId: string; runId: string }> {
  const workflowId = `volume/${randomUUID()}`;
  const idle = { workflowId, taskQueue: `${taskQueue}-idle`, args: [] };
  const handle = await client.workflow.start(workflowTypes.createVolumeFromImage, idle);
  await handle.terminate();
  return { workflowId, runId: handle.firstExecutionRunId };
}

async function expectAgreement(world: World, { dead, missing, forgotten, partial }: Disagreement): Promise<void> {
  expect(await world.volume(dead.volumeId)).toMatchObject({ state: 'error', errorType: 'CreateCancelled' });
  expect(existsSync(pathOf(dead))).toBe(false);
  expect(await world.volume(missing.volumeId)).toMatchObject({ state: 'error', errorType: 'VolumeNotFound' });
  const { connection } = forgotten;
  expect(await world.volume(forgotten.volumeId)).toMatchObject({ state: 'available', connection });
  expect(await world.hasGuestBytes(forgotten)).toBe(true);
  expect(existsSync(partial)).toBe(false);
  expect((await entryOf(world)).digest).not.toBeNull();
}

async function runOnce({ stack, workflowIds }: World, workflowId: string): Promise<ReconcileResult | undefined> {
  const { client, taskQueue, backend } = stack;
  workflowIds.add(workflowId);
  const handle = await client.workflow.start(workflowTypes.reconcileBackend, {
    workflowId,
    taskQueue,
    args: [{ backend, adopt: true }],
  });
  return (await handle.result().catch(() => undefined)) as ReconcileResult | undefined;
}

function isWhole(result: ReconcileResult | undefined): boolean {
  return result !== undefined && result.problems.length === 0;
}

async function available(world: World): Promise<CreateVolumeResult> {
  const ending = await world.create();
  if (ending.kind !== 'done') throw new Error(`the create ended as ${JSON.stringify(ending)}`);
  return ending.result;
}

async function entryOf({ stack, cacheKey }: World): Promise<EntryRow> {
  const [entry] = await stack.inventory.entries({ shortKey: cacheKey.short });
  if (entry === undefined) throw new Error('the world has no entry');
  return entry;
}

function pathOf({ connection }: CreateVolumeResult): string {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return connection.path;
}
