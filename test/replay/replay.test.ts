import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { dataConverter, tracedWorkflowBundlePath, workflowBundlePath } from '../../worker/bundle';
import { workflowTypes } from '../../workflows/contract/names';

const directory = join(__dirname, 'histories');
const names = readdirSync(directory).map((file) => file.replace(/\.json$/, ''));

type Outcomes = Awaited<ReturnType<typeof replayAll>>;
let plain: Outcomes;
/** With the interceptors of traces. */
let traced: Outcomes;

/** As the build makes them, the one that ships. */
const dist = join(__dirname, '../../dist');
const bundles = { plain: basename(workflowBundlePath), traced: basename(tracedWorkflowBundlePath) };

beforeAll(async () => {
  // Core tells of every violation on its own; the tests that expect one say so.
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { forward: {}, filter: { core: 'ERROR', other: 'ERROR' } } },
  });
  const recorded = new Map(names.map((name) => [name, readHistory(name)]));
  const wrong = doctored.map(([name, now, then]): [string, string] => [
    titleOf(name, now),
    readHistory(name).replaceAll(`"name":"${then}"`, `"name":"${now}"`),
  ]);
  plain = await replayAll(bundles.plain, new Map([...recorded, ...wrong]));
  traced = await replayAll(bundles.traced, recorded);
});

interface History {
  events: { workflowExecutionStartedEventAttributes?: { workflowType?: { name: string } } }[];
}

/** As JSON: the SDK reads it with its own converter of histories. */
function readHistory(name: string): string {
  return readFileSync(join(directory, `${name}.json`), 'utf8');
}

const doctored = [
  ['miss', 'pickHost', 'awaitVerdict'],
  ['populate', 'downloadToScratch', 'writeImageVolume'],
  ['delete', 'removeVolume', 'deleteVolume'],
  ['hit', 'DeleteVolume', 'CreateVolumeFromImage'],
  ['refresh', 'matchFollow', 'refreshImages'],
  ['refresh-missing', 'matchFollow', 'settleMissing'],
  ['follow-flipped', 'retireSuperseded', 'flipFollow'],
] as const;

const titleOf = (name: string, now: string): string => `${name} that says ${now}`;

/** One worker replays them all. @returns how each ended, by its name. */
async function replayAll(bundle: string, histories: Map<string, string>): Promise<Map<string, Error | undefined>> {
  const sinks = { exporter: { export: { fn: () => undefined } } };
  const each = [...histories].map(([workflowId, text]) => ({ workflowId, history: JSON.parse(text) as unknown }));
  const ended = new Map<string, Error | undefined>();
  const results = Worker.runReplayHistories(
    { workflowBundle: { codePath: join(dist, bundle) }, dataConverter, sinks },
    each,
  );
  for await (const { workflowId, error } of results) ended.set(workflowId, error);
  return ended;
}

describe('the workflows of this version', () => {
  it('have a recorded run of every type', () => {
    const typeOf = (name: string) => {
      const { events } = JSON.parse(readHistory(name)) as History;
      return events[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name;
    };
    expect(new Set(names.map(typeOf))).toEqual(new Set(Object.values(workflowTypes)));
  });

  it.each(names)('replay the recorded run "%s"', (name) => {
    expect(plain.has(name)).toBe(true);
    expect(plain.get(name)).toBeUndefined();
  });

  it.each(names)('replay the recorded run "%s" with the interceptors of traces', (name) => {
    expect(traced.has(name)).toBe(true);
    expect(traced.get(name)).toBeUndefined();
  });

  it.each(doctored)('refuse the run "%s" when it says %s in place of %s', (name, now, then) => {
    expect(readHistory(name)).toContain(`"name":"${then}"`);
    expect(plain.get(titleOf(name, now))).toBeInstanceOf(DeterminismViolationError);
  });
});
