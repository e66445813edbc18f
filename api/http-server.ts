import { randomUUID } from 'node:crypto';
import { fastify, type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { toClientError } from '../client/errors';
import type { Logger } from '../client/logger';
import { parseJson } from '../lib/json';
import { NO_PROJECT, projectOfPath, type Authenticate } from './authentication';
import type { ApiCaller } from './caller';
import type { ApiContext } from './api-context';
import { answerTo, ApiError, badRequest, faultOf } from './errors';
import { checkInput } from './validation';
import { parseMicroversion, versionText } from './microversion';
import { registerSnapshotActions } from './routes/snapshot-actions';
import { registerSnapshotMetadata } from './routes/snapshot-metadata';
import { registerSnapshots } from './routes/snapshots';
import { registerTransfers } from './routes/transfers';
import { registerAbsent } from './routes/absent';
import { registerExtensions } from './routes/known-extensions';
import { registerLimits } from './routes/limits';
import { registerMessages } from './routes/messages';
import { registerQuotaSets } from './routes/quota-sets';
import { registerServices } from './routes/services';
import { registerAttachments } from './routes/attachments';
import { checkRoles } from './policies';
import { registerExtraSpecs, registerTypeEncryption } from './routes/type-settings';
import { registerTypes } from './routes/types';
import { registerVersions } from './routes/versions';
import { registerVolumeActions } from './routes/volume-actions';
import { registerVolumeLists } from './routes/list-volumes';
import { registerVolumeMetadata } from './routes/volume-metadata';
import { registerVolumes } from './routes/volumes';

declare module 'fastify' {
  interface FastifyRequest {
    caller: ApiCaller;
    /** Of v3: 59 for 3.59. */
    minor: number;
  }
}

/** Registers the routes of one resource below `/v3/{project_id}`. */
export type RegisterRoutes = (app: FastifyInstance, context: ApiContext) => void;

const resources: RegisterRoutes[] = [
  registerVolumes,
  registerVolumeLists,
  registerVolumeMetadata,
  registerVolumeActions,
  registerSnapshots,
  registerSnapshotMetadata,
  registerSnapshotActions,
  registerTransfers,
  registerMessages,
  registerTypes,
  registerExtraSpecs,
  registerTypeEncryption,
  registerQuotaSets,
  registerLimits,
  registerServices,
  registerExtensions,
  registerAttachments,
  registerAbsent,
];

/** Of a body. Source: `osapi_max_request_body_size` of Cinder. */
const MAX_BODY_BYTES = 114_688;
const REQUEST_TIMEOUT_MS = 30_000;

/** @returns the API, which listens nowhere yet. */
export function createServer(
  context: ApiContext,
  { authenticate, logger }: { authenticate: Authenticate; logger: Logger },
) {
  const loggerInstance: FastifyBaseLogger = logger;
  const app = fastify({
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    genReqId: () => `req-${randomUUID()}`,
    rewriteUrl: ({ url = '/' }) => withProject(url),
    routerOptions: {
      // Of a key that comes twice the last one.
      querystringParser: (text) => Object.fromEntries(new URLSearchParams(text)),
    },
    loggerInstance,
    // One line a request is ours.
    disableRequestLogging: true,
  });
  app.decorateRequest('caller');
  app.decorateRequest('minor', 0);
  readJson(app);
  app.setValidatorCompiler(({ schema }) => validatorOf(schema as z.ZodType));
  answerErrors(app);
  answerHeaders(app);
  registerVersions(app, context);
  void app.register(
    async (authenticated) => {
      authenticated.addHook('onRequest', async (request) => {
        request.caller = await authenticate(request);
        request.minor = parseMicroversion(microversionHeader(request));
        checkProject(request);
      });
      // A refusal names the action of a body.
      authenticated.addHook('preValidation', async (request) => checkRoles(request));
      for (const register of resources) register(authenticated, context);
    },
    { prefix: '/v3/:project_id' },
  );
  return app;
}

/** First segments below `/v3/` that are no project's id. Since 3.67 clients may leave that out. */
const COLLECTIONS =
  /^\/v3\/(?=(?:volumes|snapshots|types|attachments|volume-transfers|os-volume-transfer|os-quota-sets|os-quota-class-sets|limits|extensions|messages|os-availability-zone|os-services|scheduler-stats|resource_filters|capabilities|backups|groups|group_types|group_snapshots|consistencygroups|cgsnapshots|clusters|qos-specs|os-hosts|manageable_volumes|manageable_snapshots|default-types|workers)(?:[/?]|$))/;

function withProject(url: string): string {
  return url.replace(COLLECTIONS, `/v3/${NO_PROJECT}/`);
}

function checkProject(request: FastifyRequest): void {
  const project = projectOfPath(request);
  if (project !== NO_PROJECT && project !== request.caller.projectId) throw badRequest('Malformed request url');
}

function microversionHeader({ headers }: FastifyRequest): string | undefined {
  const value = headers['openstack-api-version'];
  return Array.isArray(value) ? value.join(',') : value;
}

/** A client may say JSON and send nothing. */
function readJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') return done(null, undefined);
    const value = parseJson(String(body));
    if (value === undefined) return done(new ApiError(400, 'Malformed request body: it is no JSON.'));
    done(null, value);
  });
}

/** A body or a query that does not fit is 400, with the field and what is allowed. */
function validatorOf(schema: z.ZodType) {
  return (data: unknown) => {
    try {
      return { value: checkInput(schema, data) };
    } catch (error) {
      if (error instanceof ApiError) return { error };
      throw error;
    }
  };
}

function answerErrors(app: FastifyInstance): void {
  app.setNotFoundHandler((_request, reply) => reply.code(404).send(faultOf(404, 'The resource could not be found.')));
  app.setErrorHandler((thrown: unknown, request, reply) => {
    const error = toClientError(thrown);
    const answer = answerTo(error) ?? answerOfFastify(error);
    if (answer === undefined) request.log.error({ err: error }, 'a request has failed');
    const { status, message, headers } =
      answer ?? new ApiError(500, `The server has failed; ask for request ${request.id} in its log.`);
    return reply.code(status).headers(headers).send(faultOf(status, message));
  });
}

/** What the HTTP server itself refuses, such as a body that is too long. */
function answerOfFastify(error: unknown): ApiError | undefined {
  if (!(error instanceof Error) || !('statusCode' in error) || typeof error.statusCode !== 'number') return undefined;
  return error.statusCode < 500 ? new ApiError(error.statusCode, error.message) : undefined;
}

function answerHeaders(app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply) => {
    void reply.headers({
      'x-openstack-request-id': request.id,
      'x-compute-request-id': request.id,
      'openstack-api-version': `volume ${versionText(request.minor)}`,
      vary: 'OpenStack-API-Version',
    });
  });
  app.addHook('onResponse', async (request, reply) => {
    const { method, url, caller, minor } = request;
    const who = { projectId: caller?.projectId, userId: caller?.userId };
    const line = {
      requestId: request.id,
      method,
      url,
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      ...who,
      minor,
    };
    request.log.info(line, 'request');
  });
}
