import type { CreateImageRequest } from '../../../activities/glance/image-service';
import { followImage, refreshCache } from '../../../client/refresh';
import { selectFollows } from '../../../db/follows/follows';
import { MiB } from '../../../workflows/contract/bytes';
import type { EntryId } from '../../../workflows/contract/ids';
import type { Image } from '../../../workflows/contract/image';
import type { FollowInput, FollowOutcome, RefreshInput, RefreshResult } from '../../../workflows/contract/refresh';
import type { FlowStack } from './flows';
import { makeSampleImage, uploadSample, type SampleImage } from '../images/sample-image';
import { type EntryRow, type FollowRow } from '../../../db/schema';

const IMAGE_BYTES = 2 * MiB;

/** Helpers that tests of warming, following and refreshing use most often. */
export function refreshFlows(flow: FlowStack) {
  let made = 0;
  const makeSample = async (): Promise<SampleImage> => {
    made += 1;
    const { directory } = flow;
    return await makeSampleImage({ directory, name: `refresh-${made}`, diskFormat: 'raw', virtualBytes: IMAGE_BYTES });
  };
  return {
    makeSample,
    /** Uploads other bytes, or those of `sample`. */
    publish: async (more: Partial<CreateImageRequest> = {}, sample?: SampleImage): Promise<Image> =>
      await uploadSample(flow.stack.images, sample ?? (await makeSample()), more),
    follow: async (input: FollowInput): Promise<FollowOutcome> => {
      const { cache, backend } = flow.stack;
      return (await followImage(cache, { backend, ...input }, { wait: true })).result;
    },
    refresh: async (input: RefreshInput = {}): Promise<RefreshResult> =>
      (await refreshCache(flow.stack.cache, input, { wait: true })).result,
    followOf: async (name: string): Promise<FollowRow | undefined> =>
      (await selectFollows(flow.stack.database, { backend: flow.stack.backend, name, limit: 1 }))[0],
    entry: async (entryId: EntryId | null): Promise<EntryRow | undefined> =>
      entryId === null ? undefined : await flow.stack.inventory.entry(entryId),
    /** Edits an image's record in a way that `ImageService` has no verb for. */
    edit: async ({ id }: Image, operations: object[]): Promise<void> => {
      const answer = await fetch(`${flow.stack.images.endpoint}/v2/images/${id}`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
        body: JSON.stringify(operations),
      });
      expect(answer.status).toBe(200);
    },
    /** Requests for its file, refused ones included. */
    downloadsOf: async ({ id }: Image): Promise<number> => (await flow.stack.imageService.counters(id)).downloads,
    bytesServedOf: async ({ id }: Image): Promise<number> => (await flow.stack.imageService.counters(id)).bytesServed,
    imageStateOf: async ({ id }: Image): Promise<string | undefined> => {
      const [row] = await flow.stack.database.sql<{ state: string }[]>`
        select state from entry_images where image_id = ${id} order by last_seen_at desc limit 1`;
      return row?.state;
    },
  };
}
