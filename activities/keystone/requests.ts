import { Agent, request as send } from 'undici';
import { errorMessage } from '../../lib/error-message';
import { httpSpan, traced } from '../../lib/traced';
import { withDeadline } from '../../lib/abort';
import { KiB, MiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { ServiceTls } from '../../lib/service-tls';

export interface ServiceAnswer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
}

export interface ServiceRequest {
  method: 'GET' | 'POST';
  /** Below the URL of the service. */
  path: string;
  body?: string;
  token?: string;
  /** The token asked about. */
  subjectToken?: string;
  /** Such as `compute 2.93`; default: none is asked for. */
  microversion?: string;
}

/** HTTP to one Keystone, or to a service of its catalogue. */
export interface ServiceRequests {
  readonly service: string;
  /** Follows no redirect: the request is for this service. @throws Failure, as it was opened. */
  exchange(request: ServiceRequest): Promise<ServiceAnswer>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 15_000;
/** A catalogue of many regions is some hundred KiB. */
const ANSWER_LIMIT_BYTES = 8 * MiB;
const HEADERS_LIMIT_BYTES = 64 * KiB;

export function createKeystoneRequests(service: string, tls: ServiceTls): ServiceRequests {
  return createServiceRequests(service, { name: 'keystone', tls, failure: 'IdentityUnavailable' });
}

interface ServiceOptions {
  /** As spans have it. */
  name: string;
  tls: ServiceTls;
  /** Failure that is thrown while it does not answer. */
  failure: 'IdentityUnavailable' | 'ComputeServiceUnavailable';
}

export function createServiceRequests(service: string, { name, tls, failure }: ServiceOptions): ServiceRequests {
  const agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS, ...tls },
    maxHeaderSize: HEADERS_LIMIT_BYTES,
    connections: 4,
  });
  const unavailable = (cause: string, options?: ErrorOptions): Failure =>
    new Failure(failure, { service, cause }, options);

  return {
    service,
    exchange: (request) =>
      traced(
        () => httpSpan({ service: name, method: request.method, url: `${service}${request.path}` }),
        async ({ say, headers }) => {
          const answer = await exchange(request, headers());
          say({ 'http.response.status_code': answer.status });
          return answer;
        },
      ),
    close: async () => await agent.destroy(),
  };

  async function exchange(
    { method, path, body, token, subjectToken, microversion }: ServiceRequest,
    traceHeaders: Record<string, string>,
  ): Promise<ServiceAnswer> {
    const late = unavailable(`no answer within ${REQUEST_TIMEOUT_MS} ms`);
    return await withDeadline({ ms: REQUEST_TIMEOUT_MS, late }, async (signal) => {
      try {
        const response = await send(`${service}${path}`, {
          dispatcher: agent,
          method,
          body,
          signal,
          headers: {
            accept: 'application/json',
            'content-type': 'application/json',
            'x-auth-token': token,
            'x-subject-token': subjectToken,
            'openstack-api-version': microversion,
            ...traceHeaders,
          },
        });
        const { statusCode: status, headers } = response;
        return { status, headers, text: await readText(response.body) };
      } catch (error) {
        throw unavailable(describeFault(error), { cause: error });
      }
    });
  }
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_LIMIT_BYTES) throw new Error(`the answer is longer than ${ANSWER_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function describeFault(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return code === '' || errorMessage(error).includes(code) ? errorMessage(error) : `${code}: ${errorMessage(error)}`;
}
