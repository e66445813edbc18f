import {
  fastify,
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { z } from 'zod';
import type { ApiTls } from '../client/config/api-tls';
import type { Logger } from '../client/logger';
import { parseJson } from '../lib/json';
import { NO_PROJECT, projectOfPath, type Authenticate } from './authentication';
import type { ApiCaller } from './caller';
import type { ApiContext } from './api-context';
import { measureRequests, type RequestMetrics } from './measure-requests';
import { answerBroken, answerErrors, answerUnreadable } from './answer-errors';
import { ApiError, badRequest } from './errors';
import { createListener, type ApiLimits } from './listener';
import { limitProjects } from './limit-projects';
import { checkInput } from './validation';
import { serveOpenApi } from './open-api';
import { globalRequestIdOf, newRequestId } from './request-id';
import { LEAST_MINOR, parseMicroversion, versionText } from './microversion';
import { registerSnapshotActions } from './routes/snapshot-actions';
import { registerSnapshotMetadata } from './routes/snapshot-metadata';
import { registerSnapshots } from './routes/snapshots';
import { registerTransfers } from './routes/transfers';
import { registerAbsent } from './routes/absent';
import { registerExtensions } from './routes/known-extensions';
import { registerLimits } from './routes/limits';
import { registerMessages } from './routes/messages';
import { registerDefaultTypes } from './routes/default-types';
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
  registerDefaultTypes,
  registerQuotaSets,
  registerLimits,
  registerServices,
  registerExtensions,
  registerAttachments,
  registerAbsent,
];

interface ServerOptions {
  authenticate: Authenticate;
  logger: Logger;
  limits: ApiLimits;
  /** Undefined: plain HTTP. */
  tls?: ApiTls;
  /** Undefined: nothing is counted. */
  metrics?: RequestMetrics;
}

/** Keys of metadata are the longest: 255 characters, each of up to 12 in a path. */
const MAX_PATH_PART = 255 * 12;

/** @returns the API, which listens nowhere yet. */
export function createServer(context: ApiContext, { authenticate, logger, limits, tls, metrics }: ServerOptions) {
  const loggerInstance: FastifyBaseLogger = logger;
  const app = fastify({
    bodyLimit: limits.bodyBytes,
    serverFactory: (answer) => createListener(answer, { limits, tls }),
    genReqId: newRequestId,
    rewriteUrl: ({ url = '/' }) => withProject(url),
    routerOptions: {
      maxParamLength: MAX_PATH_PART,
      // Of a key that comes twice the last one.
      querystringParser: (text) => Object.fromEntries(new URLSearchParams(text)),
    },
    loggerInstance,
    // One line a request is ours.
    logController: new LogController({ disableRequestLogging: true }),
    // A request on an open connection is answered while the server stops.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerBroken(error, socket, logger),
    // No hook sees such a request.
    frameworkErrors: (_error, request, reply) => {
      request.minor = LEAST_MINOR;
      answerUnreadable(reply.headers(headersOf(request)));
      logAnswer(request, reply);
    },
  });
  if (metrics) measureRequests(app, metrics);
  app.decorateRequest('caller');
  app.decorateRequest('minor', 0);
  readJson(app);
  app.setValidatorCompiler(({ schema }) => validatorOf(schema as z.ZodType));
  answerErrors(app);
  answerHeaders(app);
  serveOpenApi(app);
  registerVersions(app, context);
  void app.register(
    async (authenticated) => {
      authenticated.addHook('onRequest', async (request) => {
        request.caller = await authenticate(request);
        request.minor = parseMicroversion(microversionHeader(request));
        checkProject(request);
      });
      limitProjects(authenticated, limits.requestsPerMinute);
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

function headersOf({ id, minor }: FastifyRequest): Record<string, string> {
  return {
    'x-openstack-request-id': id,
    'x-compute-request-id': id,
    'openstack-api-version': `volume ${versionText(minor)}`,
    vary: 'OpenStack-API-Version',
  };
}

function answerHeaders(app: FastifyInstance): void {
  app.addHook('onSend', async (request, reply) => {
    void reply.headers(headersOf(request));
    // A server that stops waits for no further request of a client.
    if (!app.server.listening) void reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => logAnswer(request, reply));
}

function logAnswer({ id, log, headers, method, url, caller, minor }: FastifyRequest, reply: FastifyReply): void {
  const line = {
    requestId: id,
    globalRequestId: globalRequestIdOf(headers),
    method,
    url,
    status: reply.statusCode,
    ms: Math.round(reply.elapsedTime),
    projectId: caller?.projectId,
    userId: caller?.userId,
    minor,
  };
  log.info(line, 'request');
}
