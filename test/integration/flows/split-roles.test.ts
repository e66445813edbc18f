import type { temporal } from '@temporalio/proto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readActions, readCounter } from '../../support/stack/metrics';
import { expectCleanSlate, useStack, type FlowStack } from '../../support/stack/flows';
import type { TestWorker } from '../../support/stack/stack';
import { ensureTemporalBinary } from '../../../worker/stack/temporal-binary';
import { startTemporalServer, type TemporalServer } from '../../../worker/stack/temporal-server';

const HERD = 40;

type History = temporal.api.history.v1.IHistory;

async function historyOf(flow: FlowStack, workflowId: string): Promise<History> {
  return await flow.stack.client.workflow.getHandle(workflowId).fetchHistory();
}

function eventsOf({ events }: History): number {
  return events?.length ?? 0;
}

function timersOf({ events }: History): number {
  return (events ?? []).filter(({ timerStartedEventAttributes }) => Boolean(timerStartedEventAttributes)).length;
}

let directory: string;
let server: TemporalServer;

// The server's count of actions has no label of ours, so these stacks have a server that nobody else uses.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-actions-'));
  const binary = await ensureTemporalBinary({});
  server = await startTemporalServer({ binary: binary.path, logPath: join(directory, 'temporal.log') });
  process.env['IVC_TEST_TEMPORAL_ADDRESS'] = server.address;
});

afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

/** A difference counts: nothing else of the namespace may be in flight. */
const actions = (): Promise<number> => readActions(server.metricsUrl);

async function sumOver(workers: TestWorker[], counter: string): Promise<number> {
  const counts = await Promise.all(workers.map(({ metricsUrl }) => readCounter(metricsUrl, counter)));
  return counts.reduce((total, count) => total + count, 0);
}

/** @returns what one hit costs, when nothing else runs. */
async function costOfHit(flow: FlowStack, create: () => Promise<{ workflowId: string; outcome: string }>) {
  const { workers } = flow.stack;
  const before = {
    actions: await actions(),
    statements: await sumOver(workers, 'ivc_sql_statements_total'),
    processes: await sumOver(workers, 'ivc_processes_started_total'),
  };
  // A counter that is not there would read as 0 before and after: the miss before this hit has moved all of them.
  expect(Object.values(before).every((count) => count > 0)).toBe(true);
  const { workflowId, outcome } = await create();
  expect(outcome).toBe('hit');
  const history = await historyOf(flow, workflowId);
  return {
    actions: (await actions()) - before.actions,
    statements: (await sumOver(workers, 'ivc_sql_statements_total')) - before.statements,
    processes: (await sumOver(workers, 'ivc_processes_started_total')) - before.processes,
    events: eventsOf(history),
    timers: timersOf(history),
  };
}

describe('three workers, one for each role', () => {
  const flow = useStack({ workers: [['control'], ['backend'], ['host']] });

  it('make a miss and a hit of the image’s bytes', async () => {
    const { sample, image } = await flow.upload('split');
    const miss = await flow.create(image);
    expect(miss).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, miss);
    const hit = await flow.create(image);
    expect(hit).toMatchObject({ outcome: 'hit' });
    await flow.expectGuestBytes(sample, hit);
    await expectCleanSlate(flow.stack);
  });

  it('spend at most 15 events and 4 actions on a hit, and no timer', async () => {
    const { image } = await flow.upload('split-budget');
    await flow.create(image);
    await expectCleanSlate(flow.stack);
    const cost = await costOfHit(flow, async () => {
      const running = await flow.start(image);
      return { workflowId: running.workflowId, ...(await running.result()) };
    });
    expect(cost.events).toBeLessThanOrEqual(15);
    expect(cost.actions).toBeLessThanOrEqual(4);
    expect(cost.timers).toBe(0);
  });
});

describe('one worker with all roles', () => {
  const flow = useStack();

  it('spends at most 9 events, 3 actions and 3 SQL statements on a hit, and neither a timer nor a process', async () => {
    const { image } = await flow.upload('budget');
    await flow.create(image);
    await expectCleanSlate(flow.stack);
    const cost = await costOfHit(flow, async () => {
      const running = await flow.start(image);
      return { workflowId: running.workflowId, ...(await running.result()) };
    });
    expect(cost.events).toBeLessThanOrEqual(9);
    expect(cost.actions).toBeLessThanOrEqual(3);
    expect(cost.statements).toBeLessThanOrEqual(3);
    expect(cost).toMatchObject({ timers: 0, processes: 0 });
  });

  it('writes a flight’s history as long for a herd as for one create', async () => {
    const lone = await flow.upload('lone');
    await flow.create(lone.image);
    const herd = await flow.upload('herd');
    const volumes = await Promise.all(Array.from({ length: HERD }, () => flow.create(herd.image)));
    expect(volumes.filter(({ outcome }) => outcome === 'miss')).toHaveLength(1);
    await expectCleanSlate(flow.stack);
    const [loneEvents, herdEvents] = await Promise.all(
      [lone, herd].map(async ({ image }) => eventsOf(await flow.flightHandle(image).fetchHistory())),
    );
    expect(herdEvents).toBe(loneEvents);
    expect(await flow.stack.imageService.counters(herd.image.id)).toMatchObject({ downloads: 1 });
  });
});
