import { z } from 'zod';
import type { Fault } from '../../../worker/stack/image-service/faults';
import type { ImageCounters } from '../../../worker/stack/image-service/counters';
import { startImageService, type RunningImageService } from '../../../worker/stack/image-service/server';

export type InjectedFault = Pick<Fault, 'kind'> & Partial<Fault>;

/** The local image service with its test-only abilities at hand. */
export interface TestImageService extends RunningImageService {
  /** Makes coming requests fail in one way; the first fault that fits a request strikes it. */
  inject(fault: InjectedFault): Promise<void>;
  clearFaults(): Promise<void>;
  /** Counts of the requests for one image. */
  counters(imageId: string): Promise<ImageCounters>;
}

const countersSchema = z.object({
  images: z.record(
    z.string(),
    z.object({ records: z.number(), downloads: z.number(), bytesServed: z.number(), rangeRequests: z.number() }),
  ),
});

const JSON_BODY = { 'content-type': 'application/json' };

export async function startTestImageService(directory: string): Promise<TestImageService> {
  const service = await startImageService({ directory, faults: true });
  const admin = async (path: string, init?: RequestInit): Promise<Response> => {
    const response = await fetch(`${service.url}/admin/${path}`, init);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  };
  return {
    ...service,
    inject: async (fault) =>
      void (await admin('faults', { method: 'POST', headers: JSON_BODY, body: JSON.stringify(fault) })),
    clearFaults: async () => void (await admin('faults', { method: 'DELETE' })),
    counters: async (imageId) => {
      const { images } = countersSchema.parse(await (await admin('counters')).json());
      return images[imageId] ?? { records: 0, downloads: 0, bytesServed: 0, rangeRequests: 0 };
    },
  };
}
