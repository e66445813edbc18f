import type { ImageVolumeCache } from '../client/connection';
import { configSchema } from '../client/config/schema';
import { createLogger } from '../client/logger';
import { createServer } from './http-server';
import type { OpenApi } from './open-api';

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
  const { statusCode, body } = await app.inject({ url: '/v3/openapi.json' });
  await app.close();
  if (statusCode !== 200) throw new Error(`the API answers ${statusCode}: ${body}`);
  return JSON.parse(body) as OpenApi;
}
