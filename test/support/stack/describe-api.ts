import type { ImageVolumeCache } from '../../../client/connection';
import { configSchema } from '../../../client/config/schema';
import { createLogger } from '../../../client/logger';
import { createServer } from '../../../api/http-server';
import type { OpenApi } from '../../../api/open-api';

/** @returns the description of every call, without a service that could answer one. */
export async function describeApi(): Promise<OpenApi> {
  const nobody = (): never => {
    throw new Error('this API only describes itself');
  };
  const cache: ImageVolumeCache = new Proxy({} as ImageVolumeCache, { get: () => nobody });
  const app = createServer(
    { cache, availabilityZone: 'nova', publicUrl: undefined },
    { authenticate: async () => nobody(), logger: createLogger('error'), limits: configSchema.parse({}).api.limits },
  );
  try {
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const answer = await fetch(`${url}/v3/openapi.json`);
    if (!answer.ok) throw new Error(`the API answers ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as OpenApi;
  } finally {
    await app.close();
  }
}
