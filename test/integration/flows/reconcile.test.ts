import { randomUUID } from 'node:crypto';
import {
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
  chmodSync,
  mkdirSync,
} from 'node:fs';
import { WorkflowFailedError } from '@temporalio/client';
import { reconcile } from '../../../client/reconcile';
import { deleteVolume } from '../../../client/volumes';
import { setAttached } from '../../support/attach';
import { workflowTypes } from '../../../workflows/contract/names';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { actionOn, reconcileFlows } from '../../support/stack/reconcile';
import { runIvc } from '../../support/stack/ivc';
import { type EntryRow } from '../../../db/schema';

const flow = useStack({
  clone: 'overlay',
  config: {
    createSafetyInterval: '3s',
    schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1ms' },
  },
});
const { look, upload, makeVolume, makeEntry, inBackend, files, rows, save, pathOf } = reconcileFlows(flow);
const entryNow = (entry: EntryRow) => flow.stack.inventory.entry(entry.id);
const sql = () => flow.stack.database.sql;

describe('a reconciliation', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectNothingFound();
    await expectCleanSlate(flow.stack);
  });

  it('finds nothing where everything agrees', async () => {
    await makeVolume();
    const { findings, counts, problems, looked } = await look();
    expect({ findings, counts, problems }).toEqual({ findings: [], counts: {}, problems: [] });
    expect(looked).toBeGreaterThan(2);
  });

  it('marks a volume that is missing, unless it is attached, and finds it again', async () => {
    const { volume, sample } = await makeVolume();
    const putBack = save(['volumes', `${volume.volumeId}.qcow2`]);
    rmSync(pathOf(volume));
    await setAttached(flow.stack.database, { volumeId: volume.volumeId, attachedTo: 'server-1' });
    expect(actionOn(await look(), volume.volumeId)).toBe('reported');
    expect((await flow.volume(volume.volumeId))?.state).toBe('available');
    await setAttached(flow.stack.database, { volumeId: volume.volumeId, attachedTo: null });
    expect(actionOn(await look(), volume.volumeId)).toBe('repaired');
    const message = `volume ${volume.volumeId} is no longer on backend ${flow.stack.backend}`;
    expect(await flow.volume(volume.volumeId)).toMatchObject({ state: 'error', errorMessage: message });
    putBack();
    expect(actionOn(await look(), volume.volumeId)).toBe('repaired');
    expect(await flow.volume(volume.volumeId)).toMatchObject({ state: 'available', errorMessage: null });
    await flow.expectGuestBytes(sample, volume);
  });

  it('condemns nothing where the place itself looks lost, and tells so', async () => {
    const { volume } = await makeVolume();
    const before = await rows();
    for (const folder of ['volumes', 'images']) {
      renameSync(inBackend(folder), `${inBackend()}-${folder}`);
      mkdirSync(inBackend(folder));
    }
    const { findings } = await look({ adopt: true });
    expect(findings).toMatchObject([{ kind: 'volume-missing', object: flow.stack.backend, action: 'failed' }]);
    for (const folder of ['volumes', 'images']) {
      rmSync(inBackend(folder), { recursive: true });
      renameSync(`${inBackend()}-${folder}`, inBackend(folder));
    }
    expect(await rows()).toEqual(before);
    expect(existsSync(pathOf(volume))).toBe(true);
  });

  it('quarantines entries whose image-volume is missing, changed or no longer sealed', async () => {
    const [missing, changed, unsealed] = [await makeEntry(), await makeEntry(), await makeEntry()];
    const dataOf = ({ entry }: { entry: EntryRow }) => inBackend('images', `${entry.imageVolume}.raw`);
    rmSync(dataOf(missing));
    utimesSync(dataOf(changed), new Date(), new Date());
    chmodSync(dataOf(unsealed), 0o600);
    const result = await look();
    expect(result.counts).toMatchObject({ 'entry-missing': 1, 'entry-changed': 2 });
    for (const { entry } of [missing, changed, unsealed]) {
      expect(await entryNow(entry)).toMatchObject({ state: 'gone', reason: 'quarantined' });
      const events = await flow.stack.inventory.events(entry.id);
      expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['quarantined', 'repaired', 'deleted']));
    }
    expect(await flow.create(missing.image)).toMatchObject({ outcome: 'miss' });
  });

  it('removes a volume whose row is deleted, and an image-volume whose row is gone', async () => {
    const { volume, entry } = await makeVolume();
    const putBack = [save(['volumes', `${volume.volumeId}.qcow2`])];
    await deleteVolume(flow.stack.cache, volume.volumeId);
    putBack.push(save(['images', `${entry.imageVolume}.raw`], ['images', `${entry.imageVolume}.json`]));
    await sql()`update cache_entries set state = 'retired', reason = 'requested', retired_at = now() where id = ${entry.id}`;
    expect(actionOn(await look(), entry.imageVolume)).toBe('repaired');
    expect((await entryNow(entry))?.state).toBe('gone');
    for (const again of putBack) again();
    const { counts } = await look();
    expect(counts).toEqual({ 'volume-of-deleted-row': 1, 'image-volume-without-row': 1 });
    expect(existsSync(pathOf(volume))).toBe(false);
  });

  it('removes what an attempt has left once it is old enough', async () => {
    const [old, young] = [`${randomUUID()}.1-abc.partial`, `${randomUUID()}.1-def.partial`];
    for (const name of [old, young]) writeFileSync(inBackend('volumes', name), 'half');
    const tomorrow = new Date(Date.now() + 86_400_000);
    utimesSync(inBackend('volumes', young), tomorrow, tomorrow);
    const result = await look();
    expect([actionOn(result, old), actionOn(result, young)]).toEqual(['repaired', 'young']);
    expect([existsSync(inBackend('volumes', old)), existsSync(inBackend('volumes', young))]).toEqual([false, true]);
    rmSync(inBackend('volumes', young));
  });

  it("tells of foreign objects and touches none, another installation's volume included", async () => {
    const { volume } = await makeVolume();
    const volumeId = randomUUID();
    const marker = {
      kind: 'volume',
      installation: randomUUID(),
      volumeId,
      projectId: 'p',
      name: null,
      sizeBytes: 512,
      cacheKey: {},
    };
    const names = [
      'volumes/notes.txt',
      'images/debian.partial-iso',
      `volumes/${volumeId}.raw`,
      `volumes/${volumeId}.json`,
    ];
    for (const name of names) writeFileSync(inBackend(name), 'x'.repeat(512));
    const shortKey = (volume.imageId ?? '').replaceAll('-', '');
    const foreign = {
      ...marker,
      cacheKey: {
        containerFormat: 'bare',
        diskFormat: 'raw',
        hashAlgorithm: 'sha512',
        hashValue: 'f',
        short: shortKey,
      },
    };
    writeFileSync(inBackend('volumes', `${volumeId}.json`), JSON.stringify({ parent: null, marker: foreign }));
    const result = await look({ adopt: true });
    expect(result.counts).toEqual({ foreign: 3 });
    for (const name of names) {
      expect(existsSync(inBackend(name))).toBe(true);
      rmSync(inBackend(name));
    }
  });

  it('ends a create whose run was terminated, with its lease and its bytes', async () => {
    const { volume, entry } = await makeVolume();
    const { image } = await upload();
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const { volumeId, workflowId, runId, handle, result } = await flow.start(image);
    await flow.untilWaiting(volumeId);
    await handle.terminate('as an operator may');
    await result().catch(() => undefined);
    await sql()`update volumes set state = 'creating', connection = null, workflow_id = ${workflowId}, run_id = ${runId}
      where id = ${volume.volumeId}`;
    const looked = await look();
    expect([actionOn(looked, volume.volumeId), actionOn(looked, volumeId)]).toEqual(['repaired', 'repaired']);
    const ended = { state: 'error', holdsEntry: false, waitsForFlight: null, errorType: 'CreateCancelled' };
    expect(await flow.volume(volume.volumeId)).toMatchObject(ended);
    expect(await flow.volume(volumeId)).toMatchObject(ended);
    expect((await entryNow(entry))?.clones).toBe(0);
    expect(existsSync(pathOf(volume))).toBe(false);
    await flow.stack.imageService.clearFaults();
    await flow.flightHandle(image).result();
  });

  it('keeps a volume whose run completed though its row says that it never did', async () => {
    const [creating, failed] = [await makeVolume(), await makeVolume()];
    await sql()`update volumes set state = 'creating', connection = null, entry_id = null, holds_entry = false where id = ${creating.volume.volumeId}`;
    await sql()`update cache_entries set clones = 0 where id = ${creating.entry.id}`;
    await sql()`update volumes set state = 'error', connection = null where id = ${failed.volume.volumeId}`;
    const { counts } = await look();
    expect(counts).toEqual({ 'stuck-creating': 1, 'volume-of-deleted-row': 1 });
    for (const { volume, sample, entry } of [creating, failed]) {
      const { connection } = volume;
      expect(await flow.volume(volume.volumeId)).toMatchObject({ state: 'available', connection, entryId: entry.id });
      expect((await entryNow(entry))?.clones).toBe(1);
      await flow.expectGuestBytes(sample, volume);
    }
  });

  it('deletes again what stopped being deleted', async () => {
    const { volume } = await makeVolume();
    await sql()`update volumes set state_before_delete = state, state = 'deleting' where id = ${volume.volumeId}`;
    const [half, free] = [await makeEntry(), await makeEntry()];
    await sql()`update cache_entries set state = 'deleting', reason = 'requested', retired_at = now() where id = ${half.entry.id}`;
    await sql()`update cache_entries set state = 'retired', reason = 'requested', retired_at = now() where id = ${free.entry.id}`;
    const { counts } = await look();
    expect(counts).toEqual({ 'stuck-deleting': 1, 'stuck-entry-deletion': 2 });
    await flow.stack.client.workflow.getHandle(flow.stack.cache.queues.ids.deleteVolume(volume.volumeId)).result();
    expect((await flow.volume(volume.volumeId))?.state).toBe('deleted');
    for (const { entry } of [half, free]) expect((await entryNow(entry))?.state).toBe('gone');
  });

  it('gives up the reservation of a population that was terminated', async () => {
    const { image } = await upload();
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const { volumeId, handle, result } = await flow.start(image);
    await flow.untilWaiting(volumeId);
    const entry = await flow.until('the reservation', async () => {
      const entries = await flow.entriesOf(image);
      return entries[0]?.state === 'populating' && entries[0];
    });
    await handle.terminate();
    await flow.flightHandle(image).terminate();
    await result().catch(() => undefined);
    await flow.stack.imageService.clearFaults();
    const looked = await flow.until('the population to be given up', async () => {
      const found = await look();
      return found.counts['stuck-populating'] === 1 && found;
    });
    expect(actionOn(looked, entry.imageVolume)).toBe('repaired');
    expect(await entryNow(entry)).toMatchObject({ state: 'gone', reason: 'abandoned' });
    // It runs the flight that nobody has answered.
    expect(await flow.create(image)).toMatchObject({ outcome: 'joined' });
    await flow.until('nothing of it in the scratch', async () => {
      await look();
      return (await sql()`select 1 from scratch_files`).length === 0;
    });
  });

  it('corrects a count of clones', async () => {
    const { entry } = await makeVolume();
    await sql()`update cache_entries set clones = clones + 3 where id = ${entry.id}`;
    expect(actionOn(await look(), entry.imageVolume)).toBe('repaired');
    expect((await entryNow(entry))?.clones).toBe(1);
  });

  it('removes nothing that was written after its row was deleted', async () => {
    const { volume } = await makeVolume();
    const putBack = save(['volumes', `${volume.volumeId}.qcow2`]);
    await deleteVolume(flow.stack.cache, volume.volumeId);
    putBack();
    const later = new Date(Date.now() + 1000);
    utimesSync(pathOf(volume), later, later);
    const { findings } = await look();
    expect(findings).toMatchObject([{ kind: 'volume-of-deleted-row', object: volume.volumeId, action: 'reported' }]);
    expect(findings[0]?.found).toContain(later.toISOString());
    putBack();
    expect(actionOn(await look(), volume.volumeId)).toBe('repaired');
    expect(existsSync(pathOf(volume))).toBe(false);
  });

  it.each(['error', 'creating'])(
    'removes nothing of a row in %s that was written after its run had failed, as after a restore of an older database',
    async (state) => {
      const { volume } = await makeVolume();
      const { client, cache, database } = flow.stack;
      const workflowId = `${flow.stack.cache.queues.ids.createVolume(volume.volumeId)}/earlier`;
      const handle = await client.workflow.start(workflowTypes.createVolumeFromImage, {
        workflowId,
        taskQueue: `${cache.queues.control}-that-nobody-polls`,
      });
      await handle.terminate();
      await sql()`update volumes set state = ${state}, connection = null, outcome = null,
        workflow_id = ${workflowId}, run_id = ${handle.firstExecutionRunId} where id = ${volume.volumeId}`;
      const { closeTime = new Date() } = await handle.describe();
      const [before, after] = [new Date(closeTime.getTime() - 1000), new Date(closeTime.getTime() + 1000)];
      utimesSync(pathOf(volume), after, after);
      const kept = await look();
      expect(actionOn(kept, volume.volumeId)).toBe('reported');
      expect(existsSync(pathOf(volume))).toBe(true);
      utimesSync(pathOf(volume), before, before);
      await look();
      expect(existsSync(pathOf(volume))).toBe(false);
      expect((await database.sql`select state from volumes where id = ${volume.volumeId}`)[0]).toEqual({
        state: 'error',
      });
    },
  );

  it('changes nothing in a dry run, and does at once what it said when two run at the same time', async () => {
    const [dead, deleted, broken] = [await makeVolume(), await makeVolume(), await makeEntry()];
    await sql()`update volumes set state = 'creating', connection = null where id = ${dead.volume.volumeId}`;
    await sql()`update volumes set state_before_delete = state, state = 'deleting' where id = ${deleted.volume.volumeId}`;
    rmSync(inBackend('images', `${broken.entry.imageVolume}.raw`));
    writeFileSync(inBackend('volumes', `${randomUUID()}.1-abc.partial`), 'half');
    const before = { rows: await rows(), files: files() };
    const dry = await look({ dryRun: true });
    expect(dry.dryRun).toBe(true);
    // The marker of the image-volume that is missing is a leftover too.
    const counts = { 'stuck-creating': 1, 'stuck-deleting': 1, 'entry-missing': 1, partial: 2 };
    expect(dry.counts).toEqual(counts);
    expect(new Set(dry.findings.map(({ action }) => action))).toEqual(new Set(['would-repair']));
    expect({ rows: await rows(), files: files() }).toEqual(before);
    const both = await Promise.all([look(), look({ scrub: true })]);
    for (const { problems, findings } of both) {
      expect(problems).toEqual([]);
      expect(findings.filter(({ action }) => action !== 'repaired')).toEqual([]);
    }
    await flow.stack.client.workflow
      .getHandle(flow.stack.cache.queues.ids.deleteVolume(deleted.volume.volumeId))
      .result();
  });

  it('is finished by another worker when its worker is killed in the middle', async () => {
    const names = Array.from({ length: 400 }, () => `${randomUUID()}.1-abc.partial`);
    for (const name of names) writeFileSync(inBackend('volumes', name), 'half');
    const left = () => names.filter((name) => existsSync(inBackend('volumes', name))).length;
    const { cache, backend, client } = flow.stack;
    const { workflowId } = await reconcile(cache, { backend }, { wait: false });
    await flow.until('some to be removed', async () => left() < names.length);
    for (const worker of flow.stack.workers.splice(0)) await worker.stop('SIGKILL');
    await flow.stack.startWorker();
    const result = (await client.workflow.getHandle(workflowId).result()) as Awaited<ReturnType<typeof look>>;
    expect(result.problems).toEqual([]);
    expect(left()).toBe(0);
  });

  it('loses no volume when the database is older than the backend', async () => {
    const { volume, sample, entry, image } = await makeVolume();
    const other = await makeEntry();
    const imageFiles = [entry, other.entry].map(({ imageVolume }) => inBackend('images', `${imageVolume}.raw`));
    await forget(volume.volumeId, [entry, other.entry]);
    const reported = await look();
    expect(actionOn(reported, volume.volumeId)).toBe('reported');
    expect(reported.counts).toEqual({ 'volume-without-row': 1, 'image-volume-without-row': 2 });
    expect(imageFiles.every((path) => existsSync(path))).toBe(true);
    // The image that was cached before is populated once more beside it.
    const newer = await flow.create(image);
    expect(newer.outcome).toBe('miss');

    expect(actionOn(await look({ adopt: true, dryRun: true }), volume.volumeId)).toBe('would-adopt');
    const adopted = await look({ adopt: true });
    expect(actionOn(adopted, volume.volumeId)).toBe('adopted');
    expect(actionOn(adopted, other.entry.imageVolume)).toBe('repaired');
    const { projectId, name, sizeBytes, connection } = volume;
    const row = await flow.volume(volume.volumeId);
    expect(row).toMatchObject({
      state: 'available',
      bootable: true,
      projectId,
      name,
      sizeBytes,
      connection,
      imageId: image.id,
    });
    await flow.expectGuestBytes(sample, volume);
    const parent = (await flow.entriesOf(image)).find(({ imageVolume }) => imageVolume === entry.imageVolume);
    expect(parent).toMatchObject({ state: 'retired', clones: 1, counted: false });

    await deleteVolume(flow.stack.cache, volume.volumeId);
    expect(existsSync(pathOf(volume))).toBe(false);
    expect(imageFiles.some((path) => existsSync(path))).toBe(false);
    await flow.expectGuestBytes(sample, newer);
  });

  it('adopts a volume under the parent that the inventory still has', async () => {
    const { volume, entry } = await makeVolume();
    await sql()`delete from volumes where id = ${volume.volumeId}`;
    await sql()`update cache_entries set clones = 0 where id = ${entry.id}`;
    expect(actionOn(await look({ adopt: true }), volume.volumeId)).toBe('adopted');
    expect(await entryNow(entry)).toMatchObject({ state: 'ready', clones: 1 });
    expect(await flow.volume(volume.volumeId)).toMatchObject({ entryId: entry.id, holdsEntry: true });
  });

  it('refuses a malformed request, and an unknown backend, by name', async () => {
    const { client, cache } = flow.stack;
    const malformed = (field: string) => ({ type: 'InvalidRequest', details: [{ field }] });
    for (const [input, refusal] of [
      [{ backend: 'nowhere' }, { type: 'BackendNotFound', details: [{ backend: '"nowhere"' }] }],
      [{ backend: flow.stack.backend, dryRun: 'yes' }, malformed('dryRun')],
      [{ backend: flow.stack.backend, fix: true }, malformed('fix')],
    ] as const) {
      const refused = client.workflow.execute(workflowTypes.reconcileBackend, {
        workflowId: `reconcile/${randomUUID()}`,
        taskQueue: cache.queues.control,
        args: [input],
      });
      const error: unknown = await refused.catch((failure: unknown) => failure);
      expect(error).toBeInstanceOf(WorkflowFailedError);
      expect((error as WorkflowFailedError).cause).toMatchObject(refusal);
    }
  });

  it('is at hand as a command', async () => {
    writeFileSync(inBackend('volumes', 'notes.txt'), 'mine');
    const { environment, backend } = flow.stack;
    const told = await runIvc(['reconcile', '--backend', backend, '--dry-run'], environment);
    expect(told).toMatchObject({ exitCode: 0 });
    expect(told.stdout).toMatch(/foreign +reported .*volumes\/notes\.txt/);
    const json = await runIvc(['reconcile', '--json'], environment);
    expect(JSON.parse(json.stdout)).toMatchObject({ backend, counts: { foreign: 1 }, problems: [] });
    rmSync(inBackend('volumes', 'notes.txt'));
    expect(readdirSync(inBackend('volumes'))).not.toContain('notes.txt');
    expect(readFileSync(inBackend('backend.json'), 'utf8')).toContain(backend);
  });
});

async function expectNothingFound(): Promise<void> {
  expect((await look()).findings).toEqual([]);
}

/** As if the database were older than all of this. */
async function forget(volumeId: string, entries: EntryRow[]): Promise<void> {
  const keys = entries.map(({ shortKey }) => shortKey);
  await sql()`delete from volumes where id = ${volumeId}`;
  await sql()`delete from cache_entries where short_key in ${sql()(keys)}`;
  await sql()`delete from populations where short_key in ${sql()(keys)}`;
}
