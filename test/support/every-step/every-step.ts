/**
 * One harness for every workflow with effects. A clean run says which steps there are; then each step of a run in a world of its own (see `struck`) fails for good,
 * loses its reply, which runs it twice, finishes late, or is cancelled. The promise is kept and the slate is clean, whatever happens.
 */
import { createSemaphore } from '../../../lib/semaphore';
import type { workflowTypes } from '../../../workflows/contract/names';
import { faultKinds, type FaultKind, type Step } from './faults';
import { assertCleanSlate, assertStackIsIdle } from './slate';
import { startEveryStepStack, type EveryStepStack } from './step-stack';
import { createWorld, type ImageKind, type World } from './world';

/** A case that finishes late mostly waits until its step is timed out. Together fewer than the images that a refresh takes for gone at once. */
const CASES_AT_ONCE = { working: 3, waiting: 5 };

/** The fault of a case; undefined: a clean run. */
export interface CaseFault {
  kind: FaultKind;
  step: Step;
}

export interface Scenario {
  /** Subject of the titles' sentences: `a miss`. */
  name: string;
  /** Activities of the struck run, in order. */
  steps: string[];
  /** Of them, those at which faults befall it; default: all. The others do the same in another scenario of the file, which strikes them there. */
  struck?: string[];
  /** The world's image; default: raw. */
  image?: ImageKind;
  /** Brings the world to where the struck run begins. @returns that run's workflow id, and the rest of the case. */
  prepare(world: World, fault?: CaseFault): Promise<Act>;
}

export interface Act {
  workflowId: string;
  /** The step fails by itself, as its input makes it: nothing is injected. */
  failsByItself?: boolean;
  /** Runs the workflow to its end, with whatever else must run beside it. */
  run(): Promise<void>;
  /** Checks that what was promised has come true; the slate is looked at after it. */
  check(): Promise<void>;
}

/** Scenarios by the workflow whose run is struck. */
export type ScenariosByWorkflow = Partial<Record<WorkflowType, Scenario[]>>;
type WorkflowType = (typeof workflowTypes)[keyof typeof workflowTypes];

/** Declares the tests: one for each clean run and one for each fault at each step. @param startStack default: on files. */
export function describeEveryStep(
  byWorkflow: ScenariosByWorkflow,
  { startStack = () => startEveryStepStack() }: { startStack?: () => Promise<EveryStepStack> } = {},
): void {
  const outcomes = new Map<string, Promise<{ error?: unknown }>>();
  let stack: EveryStepStack | undefined;
  const cases = Object.entries(byWorkflow).flatMap(([workflowType, scenarios]) =>
    scenarios.flatMap((scenario) => casesOf(scenario, workflowType)),
  );

  beforeAll(async () => {
    const started = await startStack();
    stack = started;
    const slots = { working: createSemaphore(CASES_AT_ONCE.working), waiting: createSemaphore(CASES_AT_ONCE.waiting) };
    for (const { title, mostly, run } of cases) {
      const outcome = slots[mostly]
        .run(() => run(started), { onWait: () => undefined, signal: new AbortController().signal })
        .then(
          () => ({}),
          (error: unknown) => ({ error }),
        );
      outcomes.set(title, outcome);
    }
  });

  afterAll(async () => {
    await Promise.all(outcomes.values());
    await stack?.stop();
  });

  // All cases run at the same time from the start; each test tells of its own.
  it.each(cases)('$title', async ({ title }) => {
    const { error } = (await outcomes.get(title)) ?? { error: new Error('the case did not run') };
    if (error !== undefined) throw error;
  });

  it('leaves nothing behind when all cases are done', async () => {
    await Promise.all(outcomes.values());
    if (stack) await assertStackIsIdle(stack);
  });
}

interface Case {
  title: string;
  mostly: keyof typeof CASES_AT_ONCE;
  run: (stack: EveryStepStack) => Promise<void>;
}

function casesOf(scenario: Scenario, workflowType: string): Case[] {
  const steps = stepsOf(scenario.steps);
  const clean: Case = {
    title: `${scenario.name} takes the steps ${scenario.steps.join(', ')}`,
    mostly: 'working',
    run: (stack) => runClean(stack, scenario, workflowType),
  };
  const { struck = scenario.steps } = scenario;
  const unknown = struck.filter((activity) => !scenario.steps.includes(activity));
  if (unknown.length > 0) throw new Error(`${scenario.name} has no step ${unknown.join(', ')}`);
  const faulty = steps
    .filter(({ activity }) => struck.includes(activity))
    .flatMap((step) =>
      faultKindsOf(step).map((kind): Case => ({
        mostly: kind.endsWith('finishes-late') ? 'waiting' : 'working',
        title: titleOf(scenario, { kind, step }, steps),
        run: (stack) => runFaulty(stack, scenario, { kind, step }),
      })),
    );
  return [clean, ...faulty];
}

/**
 * Steps that a try cannot outlive its run's failure at: the flight completes `awaitVerdict` while its first try hangs, and a row that `admitVolume`
 * inserts when its run is over stays until the same request comes again or the reconciler finds it.
 */
const neverOutlived = [
  'admitVolume',
  'admitVolumes',
  'admitSnapshot',
  'admitPlainVolume',
  'beginReimage',
  'awaitVerdict',
];

function faultKindsOf({ activity }: Step): FaultKind[] {
  return faultKinds.filter((kind) => kind !== 'fails-and-finishes-late' || !neverOutlived.includes(activity));
}

async function runClean(stack: EveryStepStack, scenario: Scenario, workflowType: string): Promise<void> {
  const world = await createWorld(stack, scenario.image);
  const act = await scenario.prepare(world);
  await act.run();
  await world.untilClosed();
  expect(await stack.client.workflow.getHandle(act.workflowId).describe()).toMatchObject({ type: workflowType });
  expect(await readSteps(stack, act.workflowId)).toEqual(scenario.steps);
  await act.check();
  await assertCleanSlate(world);
}

async function runFaulty(stack: EveryStepStack, scenario: Scenario, fault: CaseFault): Promise<void> {
  const world = await createWorld(stack, scenario.image);
  const act = await scenario.prepare(world, fault);
  const armed = act.failsByItself ? undefined : stack.faults.arm({ ...fault, workflowId: act.workflowId });
  await act.run();
  if (armed) expect(armed.hasStruck()).toBe(true);
  await world.untilClosed();
  await act.check();
  await assertCleanSlate(world);
  if (!armed || !fault.kind.endsWith('finishes-late')) return;
  await armed.finishLate();
  await act.check();
  await assertCleanSlate(world);
}

/**
 * @returns the activities of a run in the order in which its history has them. A step that a busy machine was too slow for within the workflow task, and
 * that was then run as a normal activity, is one step.
 */
async function readSteps({ client }: EveryStepStack, workflowId: string): Promise<string[]> {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  const runs = (events ?? []).flatMap(
    ({ activityTaskScheduledEventAttributes: normal, markerRecordedEventAttributes: marker }) => {
      const data = marker?.details?.['data']?.payloads?.[0]?.data;
      const local = data ? (JSON.parse(Buffer.from(data).toString()) as { activity_type?: string }) : {};
      const activity = normal?.activityType?.name ?? local.activity_type;
      const hasFailedLocally = marker?.failure !== undefined && marker.failure !== null;
      return activity === undefined ? [] : [{ activity, hasFailedLocally }];
    },
  );
  return runs
    .filter(({ activity, hasFailedLocally }, index) => !hasFailedLocally || runs[index + 1]?.activity !== activity)
    .map(({ activity }) => activity);
}

function stepsOf(activities: string[]): Step[] {
  return activities.map((activity, index) => ({
    activity,
    nth: activities.slice(0, index + 1).filter((other) => other === activity).length,
  }));
}

function titleOf({ name }: Scenario, { kind, step }: CaseFault, steps: Step[]): string {
  const several = steps.some(({ activity, nth }) => activity === step.activity && nth > 1);
  const at = several ? `${step.activity} no. ${step.nth}` : step.activity;
  switch (kind) {
    case 'fails':
      return `${name} keeps its promise when ${at} fails for good`;
    case 'loses-reply':
      return `${name} survives a lost reply of ${at}`;
    case 'finishes-late':
      return `${name} survives that ${at} times out and finishes later`;
    case 'fails-and-finishes-late':
      return `${name} keeps its promise when ${at} fails for good and an earlier try of it finishes later`;
    case 'is-cancelled':
      return `${name} leaves nothing half-made when it is cancelled at ${at}`;
  }
}
