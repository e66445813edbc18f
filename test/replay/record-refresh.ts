import { randomUUID } from 'node:crypto';
import { followImage, unfollowImage } from '../../client/refresh';
import { refreshCache } from '../../client/refresh';
import { warmCache } from '../../client/refresh';
import { workflowTypes } from '../../workflows/contract/names';
import type { FlowStack } from '../support/stack/flows';
import { refreshFlows } from '../support/stack/refresh';

/** Writes the history of a run under a name. */
export type Save = (name: string, run: { workflowId: string; runId?: string }) => Promise<void>;

/** One run of every kind of warming, following and refreshing, and one that sets quotas. */
export async function recordRefresh(flow: FlowStack, save: Save): Promise<void> {
  const { cache, backend, images, imageService } = flow.stack;
  const { publish } = refreshFlows(flow);

  const [cold, slow] = [await publish(), await publish()];
  const input = { imageIds: [cold.id, slow.id, randomUUID()], backends: [backend], pin: true };
  await save('warm', await warmCache(cache, input, { wait: true }));
  await save('warm-refused', await warmRefused(flow));

  const follow = { imageName: 'followed', backend };
  await save('follow-no-match', await followImage(cache, follow, { wait: true }));
  const old = await publish({ name: 'followed' });
  await save('follow', await followImage(cache, follow, { wait: true }));
  await flow.create(old);
  await publish({ name: 'followed' });
  await images.deleteImage(slow.id);
  await imageService.inject({ kind: 'status-500', on: 'record', imageId: cold.id, times: 1000 });
  await save('refresh-missing', await refreshCache(cache, {}, { wait: true }));
  await imageService.clearFaults();
  await publish({ name: 'followed' });
  await save('follow-flipped', await followImage(cache, follow, { wait: true }));
  await unfollowImage(cache, { name: 'followed', backend });
  await save('unfollow', { workflowId: cache.queues.ids.follow(backend, 'followed') });

  const workflowId = cache.queues.ids.quotas('limited', randomUUID());
  const args = [{ projectId: 'limited', quotas: { volumes: 10, bytes: null } }];
  await flow.stack.client.workflow.execute(workflowTypes.setQuotas, {
    workflowId,
    taskQueue: cache.queues.control,
    args,
  });
  await save('set-quotas', { workflowId });
}

async function warmRefused({ stack }: FlowStack): Promise<{ workflowId: string }> {
  const workflowId = `warm/${randomUUID()}`;
  const { client, cache } = stack;
  const run = { workflowId, taskQueue: cache.queues.control, args: [{ imageIds: [] }] };
  await client.workflow.execute('WarmImageCache', run).catch(() => undefined);
  return { workflowId };
}
