/** Part of the harness's workflow bundle: every step may take a moment only, so that a step that hangs is timed out within a test's patience. */
import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';

/** A step that does not hang must not be timed out on a busy machine: its case would be another one. */
const START_TO_CLOSE_MS = 5000;
/** Its start-to-close timeout is the safety interval of its create. */
const WAITING = 'awaitVerdict';

export const interceptors: WorkflowInterceptorsFactory = () => ({
  outbound: [
    {
      scheduleActivity: async (input, next) => {
        if (input.activityType === WAITING) return await next(input);
        return await next({ ...input, options: { ...input.options, startToCloseTimeout: START_TO_CLOSE_MS } });
      },
      scheduleLocalActivity: async (input, next) =>
        await next({ ...input, options: { ...input.options, startToCloseTimeout: START_TO_CLOSE_MS } }),
    },
  ],
});
