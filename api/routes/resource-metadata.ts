import type { FastifyInstance, FastifyRequest } from 'fastify';
import { badRequest, notFound } from '../errors';
import { metadataItemSchema, metadataSchema } from '../schemas/volume';

type Metadata = Record<string, string>;

interface Item {
  Params: { key: string };
  Body: { meta: Metadata };
}
interface All {
  Body: { metadata: Metadata };
}

/** A resource with metadata, at the path of a request. */
export interface MetadataHolder {
  /** @throws ApiError 404 */
  read: (request: FastifyRequest) => Promise<Metadata>;
  /** @param changeOf what is set, and which keys are removed. @returns what it has then. */
  change: (
    request: FastifyRequest,
    changeOf: (now: Metadata) => { metadata?: Metadata; unsetMetadata?: string[] },
  ) => Promise<Metadata>;
}

/** `metadata` below `path`: a user's notes on a resource. */
export function registerMetadata(app: FastifyInstance, path: string, { read, change }: MetadataHolder): void {
  app.get(`${path}/metadata`, async (request) => ({ metadata: await read(request) }));
  app.post<All>(`${path}/metadata`, { schema: { body: metadataSchema } }, async (request) => ({
    metadata: await change(request, () => ({ metadata: request.body.metadata })),
  }));
  app.put<All>(`${path}/metadata`, { schema: { body: metadataSchema } }, async (request) => ({
    metadata: await change(request, (now) => ({
      metadata: request.body.metadata,
      unsetMetadata: Object.keys(now).filter((key) => !Object.hasOwn(request.body.metadata, key)),
    })),
  }));

  const itemPath = `${path}/metadata/:key`;
  app.get<Item>(itemPath, async (request) => itemOf(await read(request), request.params.key));
  app.put<Item>(itemPath, { schema: { body: metadataItemSchema } }, async (request) => {
    const { key } = request.params;
    if (!Object.hasOwn(request.body.meta, key)) throw badRequest('Request body and URI mismatch');
    return itemOf(await change(request, () => ({ metadata: request.body.meta })), key);
  });
  app.delete<Item>(itemPath, async (request, reply) => {
    const { key } = request.params;
    await change(request, (now) => {
      itemOf(now, key);
      return { unsetMetadata: [key] };
    });
    return reply.code(200).send();
  });
}

function itemOf(metadata: Metadata, key: string) {
  const value = Object.hasOwn(metadata, key) ? metadata[key] : undefined;
  if (value === undefined) throw notFound('The resource was not found: metadata item was not found');
  return { meta: { [key]: value } };
}
