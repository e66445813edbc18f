import type { FastifyInstance, FastifyRequest } from 'fastify';
import { deleteMessage } from '../../client/messages';
import type { Message } from '../../client/records';
import { uuidPattern } from '../../workflows/contract/ids';
import type { ApiContext } from '../api-context';
import { isAdmin, reachOf } from '../caller';
import { badRequest, notFound } from '../errors';
import { nextLink } from '../links';
import { pageOf, sortOf } from '../paging';
import type { Query } from '../query';
import { resourceFilters } from '../resource-filters';
import { causesOf, LEVEL, messageView } from '../views/failure-message';
import { requesterOf } from '../requester';

interface OfMessage {
  Params: { message_id: string };
}

/** Minor versions from which on there are messages, their pages and filters, and from which on a filter that is none is refused. */
const SINCE = 3;
const PAGED_SINCE = 5;
const REFUSED_SINCE = 31;

const pageKeys = ['limit', 'marker', 'offset', 'sort', 'sort_key', 'sort_dir'];

/** `messages`: why what was accepted has failed. */
export function registerMessages(app: FastifyInstance, context: ApiContext): void {
  app.get<{ Querystring: Query }>('/messages', async (request) => {
    expectServed(request);
    const { limit, messages } = await list(request, context);
    const last = messages.at(-1);
    const isFull = last !== undefined && request.query['limit'] !== undefined && messages.length === limit;
    return {
      messages: messages.map((message) => messageView(request, context, message)),
      ...(isFull && { messages_links: [nextLink(request, context, { path: 'messages', marker: last.messageId })] }),
    };
  });

  app.get<OfMessage>('/messages/:message_id', async (request) => {
    expectServed(request);
    return { message: messageView(request, context, await messageOfPath(request, context)) };
  });

  app.delete<OfMessage>('/messages/:message_id', async (request, reply) => {
    expectServed(request);
    const { messageId } = await messageOfPath(request, context);
    await deleteMessage(context.cache, messageId, requesterOf(request));
    return reply.code(204).send();
  });
}

function expectServed({ minor }: FastifyRequest): void {
  if (minor < SINCE) throw notFound('The resource could not be found.');
}

async function messageOfPath(request: FastifyRequest<OfMessage>, { cache }: ApiContext): Promise<Message> {
  const { message_id: messageId } = request.params;
  const inventory = await cache.inventory();
  const found = uuidPattern.test(messageId)
    ? await inventory.findMessage(messageId, { projectId: reachOf(request.caller) })
    : undefined;
  if (found === undefined) throw notFound(`Message ${messageId.slice(0, 64)} could not be found.`);
  return found;
}

/** Source: `cinder.db.sqlalchemy.api.message_get_all`: a filter that is none selects nothing. */
async function list(
  request: FastifyRequest<{ Querystring: Query }>,
  { cache }: ApiContext,
): Promise<{ limit: number; messages: Message[] }> {
  const isPaged = request.minor >= PAGED_SINCE;
  const query = isPaged ? request.query : {};
  const { limit, marker, offset } = pageOf(query);
  const [sort] = sortOf(query, { created_at: 'createdAt' }) ?? [];
  const filters = Object.keys(query).filter((key) => !pageKeys.includes(key));
  const invalid = filters.filter((key) => !resourceFilters.message.includes(key));
  if (invalid.length > 0 && request.minor >= REFUSED_SINCE && !isAdmin(request.caller))
    throw badRequest(`Invalid filters ${invalid.join(',').slice(0, 255)} are found in query options.`);
  const isNone = invalid.length > 0 || (query['message_level'] ?? LEVEL) !== LEVEL;
  if (isNone || limit === 0) return { limit, messages: [] };
  if (marker !== undefined && !uuidPattern.test(marker))
    throw notFound(`Message ${marker.slice(0, 64)} could not be found.`);
  const { event_id: eventId, resource_type: resourceType } = query;
  const messages = await (
    await cache.inventory()
  ).listMessages({
    projectId: reachOf(request.caller),
    causes: eventId === undefined && resourceType === undefined ? undefined : causesOf({ eventId, resourceType }),
    object: query['resource_uuid'],
    requestId: query['request_id'],
    limit,
    offset,
    after: marker,
    ascending: sort?.descending === false,
  });
  return { limit, messages };
}
