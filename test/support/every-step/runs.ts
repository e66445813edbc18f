import { randomUUID } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import type { Act } from './every-step';
import type { World } from './world';

export interface Repeated<Result> {
  type: string;
  input: object;
  /** Whether this result is all that the run was asked for. */
  isDone: (result: Result) => boolean | Promise<boolean>;
  check: () => Promise<void>;
}

/** A workflow that finishes what a run before it has left: where the struck run does not end well, the next one must. */
export function repeatedAct<Result>(world: World, { type, input, isDone, check }: Repeated<Result>): Act {
  const workflowId = `${type}/${randomUUID()}`;
  const { client, taskQueue } = world.stack;
  const run = async (): Promise<Result | undefined> => {
    world.workflowIds.add(workflowId);
    const handle = await client.workflow.start(type, { workflowId, taskQueue, args: [input] });
    try {
      return (await handle.result()) as Result;
    } catch (error) {
      if (error instanceof WorkflowFailedError) return undefined;
      throw error;
    }
  };
  return {
    workflowId,
    run: async () => {
      const first = await run();
      if (first !== undefined && (await isDone(first))) return;
      const second = await run();
      expect(second !== undefined && (await isDone(second))).toBe(true);
    },
    check,
  };
}
