import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply } from 'fastify';
import { toClientError } from '../client/errors';
import { answerTo, ApiError, badRequest, faultOf } from './errors';
import { newRequestId } from './request-id';

/** Every error of a route, and of no route, in Cinder's shape. */
export function answerErrors(app: FastifyInstance): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(faultOf(new ApiError(404, 'The resource could not be found.'))),
  );
  app.setErrorHandler((thrown: unknown, request, reply) => {
    const error = toClientError(thrown);
    const answer = answerTo(error) ?? answerOfFastify(error);
    if (answer === undefined) request.log.error({ err: error }, 'a request has failed');
    return sendFault(
      reply,
      answer ?? new ApiError(500, `The server has failed; ask for request ${request.id} in its log.`),
    );
  });
}

/** Answers a URL that no router reads. */
export function answerUnreadable(reply: FastifyReply): void {
  void sendFault(reply, badRequest('Malformed request url'));
}

/** Answers to a request that no route could see: nothing of it is known but how it broke. */
const broken: Record<string, [status: number, message: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'The headers of the request are too long.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request has not come in time.'],
};

/** Answers what is no HTTP, or does not come in time, and ends its connection. */
export function answerBroken(error: Error & { code?: string }, socket: Socket, log: FastifyBaseLogger): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const [status, message] = broken[error.code ?? ''] ?? [400, 'The request is no HTTP.'];
  const requestId = newRequestId();
  log.info({ requestId, status, code: error.code }, 'a broken request');
  const body = JSON.stringify(faultOf(new ApiError(status, message)));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-openstack-request-id: ${requestId}`,
    `x-compute-request-id: ${requestId}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

function sendFault(reply: FastifyReply, answer: ApiError): FastifyReply {
  return reply.code(answer.status).headers(answer.headers).send(faultOf(answer));
}

/** Repeating it helps as little as waiting: Cinder says so of quotas. */
const NO_WAIT = { headers: { 'retry-after': '0' } };

/** Refusals of the HTTP server itself, such as of a body that is too long. */
function answerOfFastify(error: unknown): ApiError | undefined {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return undefined;
  if (error.statusCode === 413) return new ApiError(413, 'Request is too large.', NO_WAIT);
  return error.statusCode < 500 ? new ApiError(error.statusCode, error.message) : undefined;
}
