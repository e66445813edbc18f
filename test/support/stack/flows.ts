import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { cacheKeyOf } from '../../../activities/kit/cache-key';
import { compareImages } from '../images/qemu';
import { createUndos, type Undos } from '../machine/undos';
import { createVolume, type StartedVolume } from '../../../client/volumes';
import { type FlightRow } from '../../../db/flights';
import { waitFor } from '../../../worker/stack/wait';
import type { BackendName, VolumeId } from '../../../workflows/contract/ids';
import type { Image } from '../../../workflows/contract/image';
import { workflowTypes } from '../../../workflows/contract/names';
import type { CreateVolumeInput, CreateVolumeResult } from '../../../workflows/contract/volume';
import { makeSampleImage, uploadSample, type SampleImage, type SampleOptions } from '../images/sample-image';
import { startStack, type Stack, type StackOptions } from './stack';
import { snapshots as snapshotTable, type EntryRow, type VolumeRow } from '../../../db/schema';
import { query } from '../../../db/statement';

const PATIENCE_MS = 45_000;

export interface UploadedImage {
  sample: SampleImage;
  image: Image;
}

/** A stack for a whole test file, and what its tests say most often. */
export interface FlowStack {
  /** Known once `beforeAll` has run. */
  readonly stack: Stack;
  readonly directory: string;
  upload(name: string, options?: Partial<SampleOptions>): Promise<UploadedImage>;
  create(image: Image, input?: Partial<CreateVolumeInput>): Promise<CreateVolumeResult>;
  /** Starts a create and does not wait for it. */
  start: (image: Image, input?: Partial<CreateVolumeInput>) => Promise<RunningCreate>;
  /** The same as any Temporal client may do it: under a workflow id of its own choice. Default: one that says nothing of the volume. */
  startAs: (image: Image, input?: Partial<CreateVolumeInput>, workflowId?: string) => Promise<RunningCreate>;
  flightOf(image: Image): Promise<FlightRow | undefined>;
  flightHandle(image: Image): WorkflowHandle;
  /** The last heartbeat of the population of `image`, as text. */
  heartbeatOf(image: Image): Promise<string>;
  /** On the stack's own backend, or another one. */
  entriesOf(image: Image, backend?: BackendName): Promise<EntryRow[]>;
  volume(volumeId: string): Promise<VolumeRow | undefined>;
  /** Waits until `check` gives something; `what` is the end of a sentence. */
  until<T>(what: string, check: () => Promise<T | undefined | false>): Promise<T>;
  untilWaiting(volumeId: string): Promise<VolumeRow>;
  expectGuestBytes(sample: SampleImage, volume: Pick<CreateVolumeResult, 'connection'>): Promise<void>;
}

export interface RunningCreate extends StartedVolume {
  handle: WorkflowHandle;
  result: () => Promise<CreateVolumeResult>;
}

/** Makes the foundation of a stack in a directory of the test's own; `after` says what is done once the stack has stopped, the last first. */
type Foundation = (place: { directory: string; after: Undos['after'] }) => Promise<StackOptions>;

/** Starts the stack before the file's tests and stops it after them, when nothing is left of what they did. */
export function useStack(options: StackOptions | Foundation = {}, startTimeoutMs?: number): FlowStack {
  let running: Stack | undefined;
  let directory = '';
  const { after, run } = createUndos();
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-flow-'));
    after(() => rm(directory, { recursive: true, force: true }));
    const stack = await startStack(typeof options === 'function' ? await options({ directory, after }) : options);
    after(() => stack.stop());
    running = stack;
  }, startTimeoutMs);
  afterAll(run);
  return flowsOf({
    stack: () => {
      if (running === undefined) throw new Error('the stack is not up');
      return running;
    },
    directory: () => directory,
  });
}

/** The same for a stack that a test starts itself. */
export function flowsOf(of: { stack: () => Stack; directory: () => string }): FlowStack {
  const keyOf = (image: Image) => ({ backend: of.stack().backend, shortKey: cacheKeyOf(image).short });
  const flightHandle = (image: Image) => {
    const { backend, shortKey } = keyOf(image);
    return of.stack().client.workflow.getHandle(of.stack().cache.queues.ids.populate(backend, shortKey));
  };
  return {
    get stack() {
      return of.stack();
    },
    get directory() {
      return of.directory();
    },
    upload: async (name, options = {}) => {
      const sample = await makeSampleImage({ directory: of.directory(), name, ...options });
      return { sample, image: await uploadSample(of.stack().images, sample) };
    },
    create: (image, input = {}) =>
      createVolume(of.stack().cache, { imageId: image.id, backend: of.stack().backend, ...input }),
    start: async (image, input = {}) => {
      const { cache, backend, client } = of.stack();
      const started = await createVolume(cache, { imageId: image.id, backend, ...input }, { wait: false });
      const handle = client.workflow.getHandle(started.workflowId, started.runId);
      // A test that fails before it asks for the result is told of its own failure only.
      return { ...started, handle, result: () => handle.result() as Promise<CreateVolumeResult> };
    },
    startAs: async (image, input = {}, workflowId = `my-create-${randomUUID()}`) => {
      const { cache, backend, client } = of.stack();
      const volumeId = (input.volumeId ?? randomUUID()) as VolumeId;
      const handle = await client.workflow.start(workflowTypes.createVolumeFromImage, {
        workflowId,
        taskQueue: cache.queues.control,
        args: [{ imageId: image.id, backend, ...input, volumeId } satisfies CreateVolumeInput],
      });
      const started = { volumeId, workflowId, runId: handle.firstExecutionRunId, reused: false };
      return { ...started, handle, result: () => handle.result() as Promise<CreateVolumeResult> };
    },
    flightOf: (image) => of.stack().inventory.flight(keyOf(image).shortKey),
    flightHandle,
    heartbeatOf: async (image) => {
      const { raw } = await flightHandle(image).describe();
      return (raw.pendingActivities ?? [])
        .flatMap(({ heartbeatDetails }) => heartbeatDetails?.payloads ?? [])
        .map(({ data }) => Buffer.from(data ?? []).toString('utf8'))
        .join();
    },
    entriesOf: (image, backend = of.stack().backend) => of.stack().inventory.entries({ ...keyOf(image), backend }),
    volume: (volumeId) => of.stack().inventory.volume(volumeId),
    until,
    untilWaiting: (volumeId) =>
      until(`volume ${volumeId} to wait for its flight`, async () => {
        const row = await of.stack().inventory.volume(volumeId);
        return row?.activityId !== null && row?.waitsForFlight !== null && row;
      }),
    expectGuestBytes: async (sample, { connection }) => {
      if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
      expect(await compareImages({ path: sample.rawPath, format: 'raw' }, connection)).toBe(true);
    },
  };
}

export async function until<T>(what: string, check: () => Promise<T | undefined | false>): Promise<T> {
  return waitFor(
    async () => {
      const found = await check();
      return found === false ? undefined : found;
    },
    { what, deadlineMs: PATIENCE_MS },
  );
}

/** Takes up `bytes` of the scratch, as another image would. @returns what gives them back. */
export async function fillScratch(
  { database: { sql }, scratchDirectory }: Pick<Stack, 'database' | 'scratchDirectory'>,
  bytes: number,
): Promise<() => Promise<void>> {
  const hostId = (await readFile(join(scratchDirectory, 'host-id'), 'utf8')).trim();
  await sql`insert into scratch_files (host_id, content_hash, bytes_reserved, users)
    values (${hostId}, 'sha512-ff', ${bytes}, array['somebody'])`;
  return async () => void (await sql`delete from scratch_files where content_hash = 'sha512-ff'`);
}

/** Every row has ended, the counters agree, and backend and scratch hold what the inventory knows and nothing else; nothing of this stack runs. */
export async function expectCleanSlate(stack: Stack): Promise<void> {
  await expectNothingRuns(stack);
  const { database, inventory } = stack;
  const rows = await inventory.volumes();
  const states = rows.map(({ id, state, waitsForFlight }) => ({ id, state, waitsForFlight }));
  expect(states.filter(({ state }) => state === 'creating' || state === 'deleting')).toEqual([]);
  expect(states.filter(({ waitsForFlight }) => waitsForFlight !== null)).toEqual([]);

  const entries = await inventory.entries();
  const entryStates = entries.map(({ imageVolume, state, clones }) => ({ imageVolume, state, clones }));
  expect(entryStates.filter(({ state }) => state === 'populating' || state === 'deleting')).toEqual([]);
  expect(entryStates.filter(({ state, clones }) => state === 'retired' && clones === 0)).toEqual([]);
  const snapshots = await query(database, (orm) => orm.select().from(snapshotTable));
  expect(snapshots.filter(({ state }) => state === 'creating' || state === 'deleting')).toEqual([]);
  const holders = [...rows, ...snapshots].filter(({ holdsEntry }) => holdsEntry);
  const held = (entryId: string) => holders.filter((row) => row.entryId === entryId).length;
  expect(entries.map(({ id, clones }) => ({ id, clones }))).toEqual(
    entries.map(({ id }) => ({ id, clones: held(id) })),
  );
  // A flight that was opened and has no run waits for its next joiner.
  const unanswered =
    await database.sql`select short_key, flight from populations where verdict is null and run_id is not null`;
  expect([...unanswered]).toEqual([]);
  const scratchRows = await database.sql`select content_hash, users from scratch_files`;
  expect([...scratchRows]).toEqual([]);

  const available = new Set<string>(rows.filter(({ state }) => state === 'available').map(({ id }) => id));
  expect(namesIn(stack.volumesDirectory, 'volumes')).toEqual([...available].sort());
  const taken = snapshots.filter(({ state }) => state === 'available').map(({ id }) => id);
  expect(namesIn(stack.volumesDirectory, 'snapshots')).toEqual(taken.sort());
  expect(namesIn(stack.volumesDirectory, 'images')).toEqual(entries.map(({ imageVolume }) => imageVolume).sort());
  expect(readdirSync(join(stack.scratchDirectory, 'images'))).toEqual([]);
}

/** @returns the names in a directory of the backend without their endings, each once. A half-written file's name stays whole. */
function namesIn(directory: string, folder: string): string[] {
  if (!existsSync(join(directory, folder))) return [];
  const names = readdirSync(join(directory, folder)).map((file) => file.replace(/^([^.]+)\.(?:raw|qcow2|json)$/, '$1'));
  return [...new Set(names)].sort();
}

/** The list of runs follows the runs in a moment: a flight closes after its waiters have their answer. */
async function expectNothingRuns({ client, cache }: Stack): Promise<void> {
  const running = `TaskQueue = '${cache.queues.control}' AND ExecutionStatus = 'Running'`;
  await until('all workflows of this stack to close', async () => {
    const { count } = await client.workflow.count(running);
    return count === 0;
  });
}
