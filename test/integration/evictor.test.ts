import { userInfo } from 'node:os';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { deleteVolume } from '../../client/volumes';
import { ensureTemporalBinary } from '../../worker/stack/temporal-binary';
import type { EvictionResult } from '../../workflows/contract/eviction';
import { evictorOf } from '../support/stack/evictor';
import { until, useStack } from '../support/stack/flows';
import { readIvc, runIvc } from '../support/stack/ivc';

let bin: string;
let evictor: ReturnType<typeof evictorOf>;

// Before the stack stops, which the next line declares.
afterAll(async () => {
  await evictor.stop();
  rmSync(bin, { recursive: true, force: true });
});
const flow = useStack();

beforeAll(async () => {
  bin = mkdtempSync(join(tmpdir(), 'ivc-evictor-'));
  symlinkSync((await ensureTemporalBinary()).path, join(bin, 'temporal'));
  const { client, cache, backend } = flow.stack;
  evictor = evictorOf({
    client,
    backend,
    taskQueue: cache.queues.control,
    workflowId: flow.stack.cache.queues.ids.evict(backend),
  });
});

/** A ready entry of an image of its own; its volume is deleted unless it is wanted. */
async function populate(name: string) {
  const { sample, image } = await flow.upload(name);
  const volume = await flow.create(image);
  const [entry] = await flow.entriesOf(image);
  if (entry === undefined) throw new Error('no entry was made');
  return { sample, image, volume, entryId: entry.id };
}

async function populateFree(name: string) {
  const populated = await populate(name);
  await deleteVolume(flow.stack.cache, populated.volume.volumeId);
  return populated;
}

const stateOf = (entryId: string) => flow.stack.inventory.stateOf(entryId);

const succeeded = { exitCode: 0, document: { result: { outcome: 'done' } } };
const usage = { exitCode: 2, document: { error: { type: 'Usage' } } };

describe('the command line', () => {
  it('plans, evicts, and shows the history of what is gone', async () => {
    const { entryId, image } = await populateFree('cli-evict');
    const { environment, backend } = flow.stack;
    const plan = await readIvc(['evict', '--backend', backend, '--entry', entryId, '--dry-run'], environment);
    expect(plan).toMatchObject({
      exitCode: 0,
      document: { result: { outcome: 'planned', plan: { evict: [{ entryId }] } } },
    });
    expect(await stateOf(entryId)).toBe('ready');
    const table = await runIvc(['evict', '--backend', backend, '--entry', entryId, '--dry-run'], environment);
    expect(table.stdout).toMatch(new RegExp(`1 +${entryId} +.* requested`));

    const done = await readIvc(['evict', '--image', image.id, '--reason', 'a test'], environment);
    expect(done).toMatchObject({
      exitCode: 0,
      document: { backend, result: { outcome: 'done', evicted: [{ entryId }] } },
    });
    expect(await stateOf(entryId)).toBe('gone');
    const shown = await readIvc(['cache', 'show', entryId], environment);
    const kinds = (shown.document['history'] as { kind: string }[]).map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['registered', 'deleted']));
    const told = await readIvc(['events', '--image', image.id, '--kind', 'evict'], environment);
    expect(told.document['events']).toMatchObject([
      { kind: 'evict.requested', by: userInfo().username, backend, detail: { outcome: 'done', reason: 'a test' } },
    ]);
  });

  it('pins entries, says why each stays, and pages through the list', async () => {
    const { entryId } = await populateFree('cli-pin');
    const { environment } = flow.stack;
    expect(await readIvc(['cache', 'pin', entryId], environment)).toMatchObject(succeeded);
    const shown = await readIvc(['cache', 'show', entryId], environment);
    expect(shown.document).toMatchObject({ pinned: true, whyItStays: 'pinned' });
    const first = await readIvc(['cache', 'list', '--limit', '1'], environment);
    expect(first.document).toMatchObject({ entries: [{ entryId }], next: entryId });
    const second = await readIvc(['cache', 'list', '--limit', '1', '--after', entryId], environment);
    expect((second.document['entries'] as { entryId: string }[]).map((entry) => entry.entryId)).not.toContain(entryId);
    expect((await runIvc(['cache', 'unpin', entryId], environment)).exitCode).toBe(0);
    expect(await readIvc(['cache', 'evict', entryId], environment)).toMatchObject(succeeded);
    expect((await runIvc(['cache', 'pin', randomUUID()], environment)).exitCode).toBe(3);
  });

  it('sets limits, refuses what does not fit, and says who has set them', async () => {
    const { environment, backend } = flow.stack;
    const set = await readIvc(['cache', 'limits', '--set', 'maxCount=40', '--set', 'idleAge=30d'], environment);
    expect(set).toMatchObject({
      exitCode: 0,
      document: {
        backend,
        result: { outcome: 'done' },
        limits: { values: { maxCount: 40, idleAgeMs: 2_592_000_000 } },
      },
    });
    const refused = await readIvc(['cache', 'limits', '--set', 'freeLowWater=60%'], environment);
    expect(refused.exitCode).toBe(2);
    expect(refused.document).toMatchObject({
      result: { outcome: 'refused', summary: expect.stringContaining('freeLowWater') },
    });
    const table = await runIvc(['cache', 'limits'], environment);
    expect(table.stdout).toMatch(/maxCount +40 +\S+, last at /);
    expect(table.stdout).toMatch(/freeLowWater +10 % +configuration/);
    expect(await readIvc(['cache', 'limits', '--set', 'maxCount=none'], environment)).toMatchObject(usage);
  });

  it('takes the beginning of a key where only one key has it, and names those that have it', async () => {
    const { environment, database } = flow.stack;
    const ids = [(await populateFree('cli-key-1')).entryId, (await populateFree('cli-key-2')).entryId];
    for (const [n, id] of ids.entries())
      await database.sql`update cache_entries set short_key = ${`abcd${n}`} || substr(short_key, 6) where id = ${id}`;
    for (const args of [['cache', 'pin'], ['cache', 'unpin'], ['evict']]) {
      expect(await readIvc([...args, '--key', 'ABCD'], environment)).toMatchObject({
        exitCode: 2,
        document: {
          result: { outcome: 'refused', summary: expect.stringMatching(/^cacheKey abcd: .* abcd0.* abcd1/) },
        },
      });
    }
    expect(await readIvc(['cache', 'pin', '--key', 'abcd0'], environment)).toMatchObject(succeeded);
    expect((await runIvc(['cache', 'unpin', '--key', 'abcd0'], environment)).exitCode).toBe(0);
    expect(await readIvc(['evict', '--key', 'abc'], environment)).toMatchObject(usage);
    for (const id of ids) expect((await runIvc(['cache', 'evict', id], environment)).exitCode).toBe(0);
  });

  it('pauses and resumes, and says so', async () => {
    const { environment } = flow.stack;
    expect((await runIvc(['evict', 'pause', '--reason', 'a rebuild'], environment)).stdout).toContain('a rebuild');
    expect((await readIvc(['evict', 'status'], environment)).document).toMatchObject({ paused: true, doing: 'paused' });
    expect((await readIvc(['evict'], environment)).document).toMatchObject({ result: { signal: 'sweep' } });
    expect((await runIvc(['evict', 'resume'], environment)).exitCode).toBe(0);
    expect((await readIvc(['evict', 'status'], environment)).document).toMatchObject({ paused: false });
  });

  it('refuses several targets and a backend that nobody knows', async () => {
    const { environment } = flow.stack;
    expect(await readIvc(['evict', '--count', '1', '--bytes', '1GiB'], environment)).toMatchObject({ exitCode: 2 });
    expect(await readIvc(['evict', '--backend', 'nowhere', '--count', '1'], environment)).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'BackendNotFound', details: { backend: '"nowhere"' } } },
    });
  });
});

describe('a parent with a live clone', () => {
  it('is retired by an eviction, and deleted with its last clone', async () => {
    const { entryId, volume } = await populate('held');
    expect(await evictor.ask('evict', { entryId })).toMatchObject({ held: [{ entryId, clones: 1 }] });
    expect(await stateOf(entryId)).toBe('retired');
    await deleteVolume(flow.stack.cache, volume.volumeId);
    expect(await stateOf(entryId)).toBe('gone');
  });

  it('goes when its clones were flattened, and a clone keeps its bytes and its connection', async () => {
    const { entryId, image, sample, volume } = await populate('flatten');
    const second = await flow.create(image);
    expect(await evictor.ask('evict', { entryId })).toMatchObject({ held: [{ entryId, clones: 2 }] });
    const { environment, backend } = flow.stack;
    const flattened = await readIvc(['evict', '--backend', backend, '--entry', entryId, '--flatten'], environment);
    expect(flattened).toMatchObject({
      exitCode: 0,
      document: { result: { outcome: 'done', held: [], evicted: [{ entryId }] } },
    });
    const { flattened: volumeIds } = flattened.document['result'] as EvictionResult;
    expect([...(volumeIds ?? [])].sort()).toEqual([volume.volumeId, second.volumeId].sort());
    expect(await stateOf(entryId)).toBe('gone');
    for (const { volumeId, connection } of [volume, second]) {
      expect((await flow.volume(volumeId))?.connection).toEqual(connection);
      await flow.expectGuestBytes(sample, { connection });
    }
  });
});

describe('signals', () => {
  beforeAll(async () => void (await evictor.ask('resume')));

  it('work with the documented lines of the Temporal command line', async () => {
    const { image, entryId } = await populateFree('lines');
    const { backend } = flow.stack;
    const lines = documentedLines()
      .replaceAll('127.0.0.1:7233', flow.stack.cache.settings.address ?? '')
      .replaceAll('evict/local', flow.stack.cache.queues.ids.evict(backend))
      .replaceAll('IMAGE_ID', image.id);
    const { exitCode, stderr } = await run('/bin/sh', ['-eu', '-c', lines]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(await evictor.answerTo('ticket-17')).toMatchObject({ outcome: 'done', evicted: [{ entryId }] });
    const last = await until('all answers', async () => {
      const { results, waiting } = await evictor.status();
      return waiting === 0 && results.slice(-7);
    });
    expect(last.map(({ signal }) => signal).sort()).toEqual([
      'evict',
      'pause',
      'pin',
      'resume',
      'setLimits',
      'sweep',
      'unpin',
    ]);
    expect(last.filter(({ outcome }) => outcome === 'failed' || outcome === 'refused')).toEqual([]);
  });

  it.each<[string, string, { args: unknown[]; why: string }]>([
    ['a text', 'evict', { args: ['text'], why: 'input: got "text"' }],
    ['a list', 'sweep', { args: [[]], why: 'input: got []' }],
    ['null', 'evict', { args: [null], why: 'input: got null' }],
    ['nothing', 'evict', { args: [], why: 'target: got nothing' }],
    ['two values', 'sweep', { args: [{}, {}], why: 'input: got "2 values"' }],
    ['an unknown field', 'evict', { args: [{ volumeId: 'x' }], why: 'volumeId: got "x"' }],
    ['several targets', 'evict', { args: [{ count: 1, bytes: 1 }], why: 'target: got ["count","bytes"]' }],
    ['a wrong type', 'evict', { args: [{ count: '1' }], why: 'count: got "1"' }],
    ['a flag in words', 'evict', { args: [{ count: 1, dryRun: 'yes' }], why: 'dryRun: got "yes"' }],
    ['flatten by rank', 'evict', { args: [{ count: 1, flatten: true }], why: 'flatten: got true' }],
    ['a limit that is none', 'setLimits', { args: [{ limits: { maxSize: 1 } }], why: 'limits.maxSize: got 1' }],
    ['no limit', 'setLimits', { args: [{ limits: {} }], why: 'limits: got {}' }],
    ['an unknown name', 'evcit', { args: [{}], why: 'signal: got "evcit"' }],
    ['a request id that is no text', 'pause', { args: [{ requestId: 7 }], why: 'requestId: got 7' }],
  ])('that are malformed by %s are refused in the status', async (_what, signal, { args, why }) => {
    const before = (await evictor.status()).results.length;
    await evictor.send(signal, ...args);
    const { results } = await evictor.status();
    expect(results.at(-1)).toMatchObject({ outcome: 'refused', summary: expect.stringContaining(why) });
    expect(results.length).toBe(Math.min(50, before + 1));
  });

  it('of a name that nobody knows are refused under the request id of their caller', async () => {
    const requestId = randomUUID();
    await evictor.send('evcit', { requestId });
    expect(await evictor.answerTo(requestId)).toMatchObject({ signal: 'unknown', outcome: 'refused' });
  });

  it('of an encoding that nobody can read are refused, as what the UI may send', async () => {
    const { client, backend } = flow.stack;
    await client.workflowService.signalWorkflowExecution({
      namespace: client.options.namespace,
      workflowExecution: { workflowId: flow.stack.cache.queues.ids.evict(backend) },
      signalName: 'evict',
      input: { payloads: [{ metadata: { encoding: Buffer.from('binary/protobuf') }, data: Buffer.from([1, 2, 3]) }] },
    });
    expect((await evictor.status()).results.at(-1)).toMatchObject({
      outcome: 'refused',
      summary: expect.stringContaining('encoding binary/protobuf'),
    });
  });

  it('with the same request id are answered once', async () => {
    const requestId = randomUUID();
    for (let times = 0; times < 3; times += 1) await evictor.send('sweep', { requestId, dryRun: true });
    await evictor.answerTo(requestId);
    const { results, waiting } = await evictor.status();
    expect(results.filter((result) => result.requestId === requestId)).toHaveLength(1);
    expect(waiting).toBe(0);
  });

  it('leave no workflow task failed', async () => {
    const { events } = await evictor.handle.fetchHistory();
    expect((events ?? []).filter(({ workflowTaskFailedEventAttributes: failed }) => failed)).toEqual([]);
  });

  it('are not lost when a burst of 200 makes the run go on as a new one, again and again', async () => {
    const { client, cache, backend } = flow.stack;
    const place = { client, backend, taskQueue: cache.queues.control, workflowId: `evict/burst-${randomUUID()}` };
    const burst = evictorOf(place, { sweepIntervalMs: null, maxHistoryEvents: 40 });
    await burst.ask('pause');
    const { runId } = await burst.handle.describe();
    const requestIds = Array.from({ length: 200 }, () => randomUUID());
    const answered = new Set<string>();
    const look = async (): Promise<number> => {
      for (const { requestId } of (await burst.status()).results) answered.add(requestId);
      return requestIds.filter((id) => answered.has(id)).length;
    };
    for (let sent = 0; sent < requestIds.length; sent += 20) {
      await Promise.all(
        requestIds.slice(sent, sent + 20).map((requestId) => burst.send('sweep', { requestId, dryRun: true })),
      );
      await until(`${sent + 20} answers`, async () => (await look()) === sent + 20);
    }
    expect((await burst.status()).paused).toBe(true);
    expect((await burst.handle.describe()).runId).not.toBe(runId);
    await burst.stop();
  });
});

it('a cancel that comes with the signal which makes the history long ends the evictor: no new run goes on', async () => {
  const { stack } = flow;
  const { client, cache, backend, workers } = stack;
  const place = { client, backend, taskQueue: cache.queues.control, workflowId: `evict/cancelled-${randomUUID()}` };
  const cancelled = evictorOf(place, { sweepIntervalMs: null, maxHistoryEvents: 20 });
  await cancelled.ask('pause');
  const { runId } = await cancelled.handle.describe();
  // Both come while nobody works, so that one workflow task brings them.
  await Promise.all(workers.map((worker) => worker.stop('SIGTERM')));
  for (let sent = 0; sent < 20; sent += 1) await cancelled.send('pause');
  await cancelled.handle.cancel();
  await stack.startWorker();
  const first = client.workflow.getHandle(place.workflowId, runId);
  await until('the run to close', async () => (await first.describe()).status.name !== 'RUNNING');
  expect((await first.describe()).status.name).toBe('CANCELLED');
});

it('an eviction whose worker is killed in its middle is finished by the next worker', async () => {
  const { entryId } = await populateFree('killed');
  const { stack } = flow;
  const { database, workers } = stack;
  const { imageVolume } = (
    await database.sql<
      { imageVolume: string }[]
    >`select image_volume as "imageVolume" from cache_entries where id = ${entryId}`
  )[0] ?? { imageVolume: '' };
  const file = join(flow.stack.volumesDirectory, 'images', `${imageVolume}.raw`);
  expect(existsSync(file)).toBe(true);
  const requestId = randomUUID();
  const holder = await database.sql.reserve();
  try {
    await holder`begin`;
    await holder`select id from cache_entries where id = ${entryId} for update`;
    await evictor.send('evict', { entryId, requestId });
    await until('the eviction to be held up', async () => {
      const [row] =
        await database.sql`select count(*) as waiting from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
      return Number(row?.['waiting']) > 0;
    });
    await workers.at(-1)?.stop('SIGKILL');
  } finally {
    await holder`rollback`;
    holder.release();
  }
  await stack.startWorker();
  expect(await evictor.answerTo(requestId)).toMatchObject({ outcome: 'done' });
  expect(await stateOf(entryId)).toBe('gone');
  expect(existsSync(file)).toBe(false);
});

/** @returns the lines for the Temporal command line of the page about evicting. */
function documentedLines(): string {
  const text = readFileSync(resolve(__dirname, '../../docs/manual/free-space.md'), 'utf8');
  const lines = [...text.matchAll(/^temporal workflow (?:signal|query) .*$/gm)].map(([line]) => line);
  if (lines.length === 0) throw new Error('the page about evicting has no lines');
  return lines.join('\n');
}

function run(command: string, args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  // No configuration of the user's own.
  const env = { PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`, HOME: bin };
  return new Promise((done) => {
    execFile(command, args, { env }, (error, stdout, stderr) =>
      done({ stdout, stderr, exitCode: typeof error?.code === 'number' ? error.code : error ? 1 : 0 }),
    );
  });
}
