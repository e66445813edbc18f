import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type {
  EvictImageCacheInput,
  EvictionResult,
  EvictionStatus,
  EvictorSignalName,
} from '../../../workflows/contract/eviction';
import type { BackendName } from '../../../workflows/contract/ids';
import { workflowTypes } from '../../../workflows/contract/names';
import { until } from './flows';

const QUESTION_TIMEOUT_MS = 2000;
/** Answers that an evictor keeps. */
const RESULTS_KEPT = 50;

export interface EvictorPlace {
  client: Client;
  taskQueue: string;
  backend: BackendName;
  workflowId: string;
}

/** Sends signals to an evictor of a test's own and reads its answers, with nothing but the Temporal client. */
export function evictorOf(
  { client, taskQueue, backend, workflowId }: EvictorPlace,
  input: Partial<EvictImageCacheInput> = {},
) {
  const handle = client.workflow.getHandle(workflowId);
  // A busy server may keep one question for long, while others push the answer out.
  const status = (): Promise<EvictionStatus> =>
    client.withDeadline(Date.now() + QUESTION_TIMEOUT_MS, () => handle.query<EvictionStatus>('status'));
  const hasEnded = async (): Promise<boolean> => (await handle.describe()).status.name !== 'RUNNING';
  const send = async (signal: string, ...args: unknown[]): Promise<void> => {
    await client.workflow.signalWithStart(workflowTypes.evictImageCache, {
      workflowId,
      taskQueue,
      args: [{ backend, ...input }],
      signal,
      signalArgs: args,
    });
  };
  const answerTo = (requestId: string): Promise<EvictionResult> =>
    until(`an answer to ${requestId}`, async () => {
      const { results, waiting, waitingFor } = await status();
      const found = results.find((result) => result.requestId === requestId);
      if (found !== undefined) return found;
      const unknown = { requestId, signal: 'unknown', at: '', outcome: 'failed' } as const;
      if (await hasEnded()) return { ...unknown, summary: 'the evictor has ended' };
      const isForgotten =
        results.length === RESULTS_KEPT && waiting === waitingFor.length && !waitingFor.includes(requestId);
      return isForgotten ? { ...unknown, summary: 'it was answered, and many others since' } : undefined;
    });
  return {
    handle,
    status,
    send,
    answerTo,
    ask: async (signal: EvictorSignalName, payload: object = {}): Promise<EvictionResult> => {
      const requestId = randomUUID();
      await send(signal, { ...payload, requestId });
      return await answerTo(requestId);
    },
    hasEnded,
    /** Cancels it and waits until it has closed. */
    stop: async (): Promise<void> => {
      if (!(await hasEnded())) await handle.cancel();
      await until(`${workflowId} to close`, hasEnded);
    },
  };
}
