import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';

/** One project of a block-storage API that asks nobody for a real token: Cinder's or ours. */
export interface VolumeClient {
  /**
   * Creates a volume of an image and asks every `pollMs` until it is available, or without a pause where that is 0.
   * @returns the milliseconds until the POST was answered. @throws Error when the volume is anything else in the end.
   */
  createVolume(request: { imageId: string; sizeGiB: number; pollMs: number }): Promise<{ postMs: number }>;
  /** Whether Cinder's image-volume cache has an image, so that the next volume is a clone. */
  hasCached(imageId: string): Promise<boolean>;
  /** Names of the pools that the scheduler knows: `host@backend#pool`. */
  listPools(): Promise<string[]>;
}

/** Without Keystone a token is user and project, and every caller an administrator. */
const PROJECT = '11111111111111111111111111111111';
const TOKEN = `admin:${PROJECT}`;
const CREATE_TIMEOUT_MS = 300_000;
const REQUEST_TIMEOUT_MS = 60_000;

const volume = z.object({ id: z.string(), name: z.string().nullable(), status: z.string() });
const oneVolume = z.object({ volume: volume.pick({ id: true, status: true }) });
const manyVolumes = z.object({ volumes: z.array(volume) });
const pools = z.object({ pools: z.array(z.object({ name: z.string() })) });

export function createVolumeClient(endpoint: string): VolumeClient {
  const ask = async <Answer>(schema: z.ZodType<Answer>, path: string, body?: object): Promise<Answer> => {
    const answer = await fetch(`${endpoint}/v3/${PROJECT}/${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'x-auth-token': TOKEN, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error(`${path} was answered with ${answer.status}: ${await answer.text()}`);
    return schema.parse(await answer.json());
  };
  return {
    async createVolume({ imageId, sizeGiB, pollMs }) {
      const request = { volume: { size: sizeGiB, imageRef: imageId } };
      const startedAtMs = performance.now();
      let { volume: found } = await ask(oneVolume, 'volumes', request);
      const postMs = performance.now() - startedAtMs;
      const deadline = Date.now() + CREATE_TIMEOUT_MS;
      while (['creating', 'downloading'].includes(found.status) && Date.now() < deadline) {
        if (pollMs > 0) await delay(pollMs);
        ({ volume: found } = await ask(oneVolume, `volumes/${found.id}`));
      }
      if (found.status !== 'available') throw new Error(`volume ${found.id} is ${found.status}`);
      return { postMs };
    },
    async hasCached(imageId) {
      const { volumes } = await ask(manyVolumes, 'volumes/detail?all_tenants=1');
      return volumes.some(({ name, status }) => name === `image-${imageId}` && status === 'available');
    },
    async listPools() {
      return (await ask(pools, 'scheduler-stats/get_pools')).pools.map(({ name }) => name);
    },
  };
}
