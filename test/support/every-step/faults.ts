import type { Context, Info } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Client } from '@temporalio/client';
import type { ActivityExecuteInput, ActivityInterceptors } from '@temporalio/worker';
import { toApplicationFailure } from '../../../activities/application-failure';
import { Failure } from '../../../workflows/contract/failures';

/** Faults that can befall a step. In all but the first its real function runs; after a lost reply, twice. */
export const faultKinds = ['fails', 'loses-reply', 'finishes-late', 'fails-and-finishes-late', 'is-cancelled'] as const;
export type FaultKind = (typeof faultKinds)[number];

/** One step of one workflow: its activity and, where a run has several of it, which. */
export interface Step {
  activity: string;
  /** From 1. */
  nth: number;
}

export interface Fault {
  kind: FaultKind;
  workflowId: string;
  step: Step;
}

export interface ArmedFault {
  hasStruck(): boolean;
  /** Lets the attempt that was timed out run now, and waits until it has ended. */
  finishLate(): Promise<void>;
}

export interface FaultInjector {
  /** For the workers of the stack. */
  intercept: (context: Context) => ActivityInterceptors;
  /** The fault strikes the first run of its workflow, once; a final failure every try. After a final failure each further step of the run, an undo, is run twice. */
  arm(fault: Fault): ArmedFault;
  /** Keeps the activity of a workflow from beginning until the returned function is called. */
  hold(workflowId: string, activity: string): () => void;
  /** Lets go of everything that hangs, so that workers can stop. */
  releaseAll(): void;
}

/** The failure of a step that fails for good. */
export const finalFailure = new Failure('NoSpace', { backend: 'every-step', neededBytes: 2, freeBytes: 1 });
const HELD_RETRY = '200ms';

interface Strike {
  fault: Fault;
  runId?: string;
  /** Ids of the run's activities by type, in the order in which they began. */
  seen: Map<string, string[]>;
  struck: boolean;
  late: { begin: () => void; begun: Promise<void>; ended?: Promise<unknown> };
}

/** Strikes at the boundary where Temporal calls activities: normal and local ones alike. */
export function createFaultInjector(client: Client): FaultInjector {
  const strikes = new Map<string, Strike>();
  const held = new Set<string>();

  const execute = async (info: Info, run: () => Promise<unknown>): Promise<unknown> => {
    const { workflowId, runId } = info.workflowExecution ?? { workflowId: '', runId: '' };
    if (held.has(`${workflowId} ${info.activityType}`))
      throw ApplicationFailure.create({ message: 'held by the test', nextRetryDelay: HELD_RETRY });
    const strike = strikes.get(workflowId);
    if (strike === undefined) return await run();
    strike.runId ??= runId;
    if (strike.runId !== runId) return await run();
    if (isTarget(strike, info)) return await strikeAt(strike, { client, run });
    return strike.struck && strike.fault.kind.startsWith('fails') ? await runTwice(run) : await run();
  };

  return {
    intercept: ({ info }) => ({
      inbound: { execute: (input, next) => execute(info, async () => await next(copyOf(input))) },
    }),
    arm(fault) {
      const late = gate();
      const strike: Strike = { fault, seen: new Map(), struck: false, late };
      strikes.set(fault.workflowId, strike);
      return {
        hasStruck: () => strike.struck,
        finishLate: async () => {
          late.begin();
          await strike.late.ended?.catch(() => undefined);
        },
      };
    },
    hold(workflowId, activity) {
      held.add(`${workflowId} ${activity}`);
      return () => held.delete(`${workflowId} ${activity}`);
    },
    releaseAll() {
      held.clear();
      for (const { late } of strikes.values()) late.begin();
    },
  };
}

async function strikeAt(
  strike: Strike,
  { client, run }: { client: Client; run: () => Promise<unknown> },
): Promise<unknown> {
  const { kind, workflowId } = strike.fault;
  const isFirst = !strike.struck;
  strike.struck = true;
  if (kind === 'fails') throw toApplicationFailure(finalFailure);
  if (!isFirst && kind === 'fails-and-finishes-late') throw toApplicationFailure(finalFailure);
  if (!isFirst) return await run();
  switch (kind) {
    case 'loses-reply':
      await unlessAsync(run());
      throw new Error('the reply was lost');
    case 'finishes-late':
    case 'fails-and-finishes-late':
      strike.late.ended = strike.late.begun.then(run);
      return await strike.late.ended;
    case 'is-cancelled':
      await client.workflow.getHandle(workflowId, strike.runId).cancel();
      return await run();
  }
}

async function runTwice(run: () => Promise<unknown>): Promise<unknown> {
  await unlessAsync(run());
  return await run();
}

/** An activity that is completed from outside ends by throwing so. */
async function unlessAsync(running: Promise<unknown>): Promise<void> {
  await running.catch((error: unknown) => {
    if (!(error instanceof Error) || error.name !== 'CompleteAsyncError') throw error;
  });
}

function isTarget({ fault, seen }: Strike, { activityType, activityId }: Info): boolean {
  const ids = seen.get(activityType) ?? [];
  if (!ids.includes(activityId)) ids.push(activityId);
  seen.set(activityType, ids);
  return activityType === fault.step.activity && ids.indexOf(activityId) + 1 === fault.step.nth;
}

/** Activities may change what they are given: each run gets its own. */
function copyOf(input: ActivityExecuteInput): ActivityExecuteInput {
  return { ...input, args: JSON.parse(JSON.stringify(input.args)) as unknown[] };
}

function gate(): { begin: () => void; begun: Promise<void> } {
  let begin = (): void => undefined;
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  return { begin, begun };
}
