import { MiB } from '../../workflows/contract/bytes';
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { changeAttachment } from '../../client/attachments';
import { shareSnapshot, unshareSnapshot } from '../../client/share-snapshots';
import { createSnapshot, deleteSnapshot } from '../../client/snapshots';
import { seedCache, uploadVolume } from '../../client/uploads';
import { getVolume } from '../../client/reads';
import { createVolumes, deleteVolume, extendVolume, type CreateVolumesRequest } from '../../client/volumes';
import { workflowTypes } from '../../workflows/contract/names';
import type { VolumeId } from '../../workflows/contract/ids';
import { holdAsGuest } from '../support/images/qemu';
import { evictorOf } from '../support/stack/evictor';
import { flowsOf, type FlowStack } from '../support/stack/flows';
import { startStack } from '../support/stack/stack';
import { recordImports } from './record-imports';
import { recordMessages } from './record-messages';
import { recordPointer } from './record-pointer';
import { recordReconcile } from './record-reconcile';
import { recordRefresh, type Save } from './record-refresh';
import { recordSnapshots } from './record-snapshots';
import { recordTransfers } from './record-transfers';
import { withoutMachine } from './without-machine';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import { startPostgres } from '../../worker/stack/postgres';
import { startTemporalServer } from '../../worker/stack/temporal-server';

/** Runs one create of every kind on servers of its own and writes their histories beside this file. See README.md. */
async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'ivc-record-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  const stops: Array<() => unknown> = [() => rmSync(directory, { recursive: true, force: true })];
  try {
    const binary = await ensureTemporalBinary({ onProgress: (line) => process.stderr.write(`${line}\n`) });
    const server = await startTemporalServer({ binary: binary.path, logPath: join(directory, 'temporal.log') });
    stops.push(() => server.stop());
    const logPath = join(directory, 'postgres.log');
    const postgres = await startPostgres({ directory: join(directory, 'postgres'), logPath, durable: false });
    stops.push(() => postgres.stop());
    process.env['IVC_TEST_TEMPORAL_ADDRESS'] = server.address;
    process.env['IVC_TEST_DATABASE_URL'] = postgres.url;
    const stack = await startStack();
    stops.push(() => stack.stop());
    const flow = flowsOf({ stack: () => stack, directory: () => directory });
    await record(flow, saverOf(flow));
    await recordEvictor(flow, saverOf(flow));
    await recordRefresh(flow, saverOf(flow));
    await recordReconcile(flow, saverOf(flow));
    await recordSnapshots(flow, saverOf(flow));
    await recordTransfers(flow, saverOf(flow));
    await recordMessages(flow, saverOf(flow));
    await recordImports(flow, saverOf(flow));
    await recordPointer(directory, saverOf);
  } finally {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  }
}

/** @returns what writes a run's history, if its name is among the command's arguments or there are none. */
function saverOf(flow: FlowStack): Save {
  const wanted = process.argv.slice(2);
  return async (name, { workflowId, runId }) => {
    if (wanted.length > 0 && !wanted.includes(name)) return;
    const history = await flow.stack.client.workflow.getHandle(workflowId, runId).fetchHistory();
    const json = withoutMachine(JSON.parse(historyToJSON(history)), flow.stack.volumesDirectory);
    writeFileSync(join(__dirname, 'histories', `${name}.json`), `${JSON.stringify(json)}\n`);
    process.stderr.write(`${name}: ${history.events?.length ?? 0} events\n`);
  };
}

/** A change, an extension, and one that the backend refuses, whose promise is given back. */
async function recordChanges({ stack }: FlowStack, volumeId: VolumeId, save: Save): Promise<void> {
  const { cache, client } = stack;
  const { ids, control: taskQueue } = cache.queues;
  const workflowId = ids.changeVolume(volumeId, randomUUID());
  const args = [{ volumeId, name: 'changed' }];
  await client.workflow.execute(workflowTypes.changeVolume, { workflowId, taskQueue, args });
  await save('change', { workflowId });
  const reservation = ids.changeAttachment(volumeId, randomUUID());
  const reserve = [{ volumeId, change: 'create' }];
  await client.workflow.execute(workflowTypes.changeAttachment, { workflowId: reservation, taskQueue, args: reserve });
  await save('attachment', { workflowId: reservation });
  const { attachments } = await getVolume(cache, volumeId);
  await changeAttachment(cache, volumeId, { change: 'delete', attachmentId: attachments[0]?.attachmentId });
  await extendVolume(cache, volumeId, { sizeBytes: 64 * MiB });
  await save('extend', { workflowId: ids.extendVolume(volumeId, 64 * MiB) });
  const { connection } = await getVolume(cache, volumeId);
  if (connection?.driver !== 'file' || connection.format !== 'qcow2') throw new Error('the volume is no overlay');
  const letGo = await holdAsGuest({ filename: connection.path, format: connection.format });
  await extendVolume(cache, volumeId, { sizeBytes: 128 * MiB }).catch(() => undefined);
  await letGo();
  await save('extend-refused', { workflowId: ids.extendVolume(volumeId, 128 * MiB) });
}

async function record(flow: FlowStack, save: Save): Promise<void> {
  const { imageService, cache } = flow.stack;
  const settle = (running: { result: () => Promise<unknown> }): Promise<unknown> =>
    running.result().catch(() => undefined);
  const closeGate = (imageId: string) =>
    imageService.inject({ kind: 'status-503', on: 'file', imageId, times: 1_000_000 });

  const { image } = await flow.upload('cached');
  await closeGate(image.id);
  const [miss, joined] = [await flow.start(image), await flow.start(image)];
  for (const { volumeId } of [miss, joined]) await flow.untilWaiting(volumeId);
  await imageService.clearFaults();
  await Promise.all([settle(miss), settle(joined)]);
  const hit = await flow.start(image);
  await settle(hit);
  await flow.flightHandle(image).result();
  await save('miss', miss);
  await save('joined', joined);
  await save('hit', hit);
  await save('populate-unpacked', { workflowId: flow.flightHandle(image).workflowId });

  await recordBulk(flow, image.id, save);

  const streamed = await flow.upload('streamed', { diskFormat: 'raw' });
  await flow.create(streamed.image);
  await flow.flightHandle(streamed.image).result();
  await save('populate-streamed', { workflowId: flow.flightHandle(streamed.image).workflowId });

  const converted = await flow.upload('converted', { subclusters: true });
  await flow.create(converted.image);
  await flow.flightHandle(converted.image).result();
  await save('populate-converted', { workflowId: flow.flightHandle(converted.image).workflowId });

  const upload = await uploadVolume(cache, { volumeId: hit.volumeId }, { wait: true });
  await save('upload', upload);
  const unfit = await uploadVolume(cache, { volumeId: hit.volumeId, imageId: image.id }, { wait: false });
  await settle({ result: () => flow.stack.client.workflow.getHandle(unfit.workflowId).result() });
  await save('upload-failed', unfit);
  const cached = await uploadVolume(cache, { volumeId: hit.volumeId, seedCache: true }, { wait: true });
  await save('upload-cached', cached);
  const taken = await createSnapshot(cache, { volumeId: hit.volumeId }, { wait: true });
  const { snapshotId } = taken.result;
  await save('share', await shareSnapshot(cache, { snapshotId, members: ['member'] }, { wait: true }));
  await save('unshare', await unshareSnapshot(cache, { snapshotId }, { wait: true }));
  await deleteSnapshot(cache, snapshotId);
  await save('populate-seeded', {
    workflowId: flow.flightHandle(await flow.stack.images.getImage(cached.imageId)).workflowId,
  });
  const flat = await flow.upload('seeded', { diskFormat: 'raw' });
  const holding = await flow.create(flat.image, { bypassCache: true });
  await save('seed', await seedCache(cache, { imageId: flat.image.id, volumeId: holding.volumeId }, { wait: true }));

  await recordChanges(flow, hit.volumeId, save);

  await deleteVolume(cache, hit.volumeId);
  await save('delete', { workflowId: `delete/${hit.volumeId}` });

  const bypass = await flow.start(image, { bypassCache: true });
  await settle(bypass);
  await save('bypass', bypass);

  const refused = await flow.start(image, { sizeBytes: 512 });
  await settle(refused);
  await save('refused', refused);

  const corrupt = await flow.upload('corrupt');
  await imageService.inject({ kind: 'wrong-bytes', imageId: corrupt.image.id, afterBytes: 5 * MiB, times: 2 });
  const failed = await flow.start(corrupt.image);
  await settle(failed);
  await flow.flightHandle(corrupt.image).result();
  await save('failed', failed);
  await save('populate-failed-tagged', { workflowId: flow.flightHandle(corrupt.image).workflowId });

  const given = await flow.upload('given-up');
  await closeGate(given.image.id);
  const last = await flow.start(given.image);
  await flow.untilWaiting(last.volumeId);
  await last.handle.cancel();
  await settle(last);
  await flow.flightHandle(given.image).cancel();
  await settle(flow.flightHandle(given.image));
  await save('populate-cancelled', { workflowId: flow.flightHandle(given.image).workflowId });

  const slow = await flow.upload('slow');
  await closeGate(slow.image.id);
  const cancelled = await flow.start(slow.image);
  await flow.untilWaiting(cancelled.volumeId);
  await cancelled.handle.cancel();
  await settle(cancelled);
  await save('cancelled', cancelled);
  await imageService.clearFaults();
  await flow.flightHandle(slow.image).result();
}

/** Many volumes: of a cached image; of a cold one; one that fails; and a cancel. */
async function recordBulk(flow: FlowStack, cachedId: string, save: Save): Promise<void> {
  const { cache, backend, client, imageService, volumesDirectory } = flow.stack;
  const run = async (name: string, imageId: string, input: Partial<CreateVolumesRequest>): Promise<void> => {
    const started = await createVolumes(cache, { imageId, backend, ...input }, { wait: false });
    const handle = client.workflow.getHandle(started.workflowId, started.runId);
    await handle.result().catch(() => undefined);
    await save(name, started);
  };
  await run('bulk', cachedId, { count: 3, name: 'many' });
  const cold = await flow.upload('bulk-cold');
  await run('bulk-cold', cold.image.id, { count: 3, onFailure: 'undo' });
  const volumeIds = [randomUUID(), randomUUID()];
  writeFileSync(join(volumesDirectory, 'volumes', `${volumeIds[0]}.raw`), 'not ours');
  await run('bulk-partly', cachedId, { volumeIds });

  const slow = await flow.upload('bulk-slow');
  await imageService.inject({ kind: 'status-503', on: 'file', imageId: slow.image.id, times: 1_000_000 });
  const waiting = [randomUUID(), randomUUID()];
  const started = await createVolumes(cache, { imageId: slow.image.id, backend, volumeIds: waiting }, { wait: false });
  for (const volumeId of waiting) await flow.untilWaiting(volumeId);
  const handle = client.workflow.getHandle(started.workflowId, started.runId);
  await handle.cancel();
  await handle.result().catch(() => undefined);
  await save('bulk-cancelled', started);
  await imageService.clearFaults();
  await flow
    .flightHandle(slow.image)
    .result()
    .catch(() => undefined);
}

/** Every kind of signal, a flattened clone and a cancel; then a run that goes on as a new one. */
async function recordEvictor(flow: FlowStack, save: Save): Promise<void> {
  const { client, cache, backend } = flow.stack;
  const place = { client, backend, taskQueue: cache.queues.control };
  const { image } = await flow.upload('evicted');
  await flow.create(image);
  const evictor = evictorOf({ ...place, workflowId: `evict/${backend}` });
  await evictor.ask('pin', { imageId: image.id });
  await evictor.ask('unpin', { imageId: image.id });
  await evictor.ask('setLimits', { limits: { maxCount: 40 } });
  await evictor.send('evict', 'malformed');
  await evictor.ask('evict', { imageId: image.id, flatten: true });
  await evictor.ask('pause');
  await evictor.stop();
  await save('evict', { workflowId: `evict/${backend}` });

  const workflowId = 'evict/continued';
  const continued = evictorOf({ ...place, workflowId }, { sweepIntervalMs: null, maxHistoryEvents: 20 });
  await continued.ask('resume');
  const { runId } = await continued.handle.describe();
  while ((await continued.handle.describe()).runId === runId) await continued.ask('sweep', { dryRun: true });
  await continued.stop();
  await save('evict-continued', { workflowId, runId });
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
