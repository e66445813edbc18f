/** Part of the harness's workflow bundle: a step that nobody takes is soon given up, where the product gives one up at all. */
import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';

const SCHEDULE_TO_START_MS = 500;

export const interceptors: WorkflowInterceptorsFactory = () => ({
  outbound: [
    {
      scheduleActivity: async (input, next) => {
        if (input.options.scheduleToStartTimeout === undefined) return await next(input);
        return await next({ ...input, options: { ...input.options, scheduleToStartTimeout: SCHEDULE_TO_START_MS } });
      },
    },
  ],
});
