import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type {
  EvictImageCacheInput,
  EvictionResult,
  EvictionStatus,
  EvictorSignalName,
} from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import { workflowTypes } from '../../workflows/contract/names';
import { until } from './flows';

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
  const status = (): Promise<EvictionStatus> => handle.query<EvictionStatus>('status');
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
      const { results } = await status();
      const found = results.find((result) => result.requestId === requestId);
      if (found !== undefined || !(await hasEnded())) return found;
      const signal: EvictionResult['signal'] = 'unknown';
      return { requestId, signal, at: '', outcome: 'failed' as const, summary: 'the evictor has ended' };
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
