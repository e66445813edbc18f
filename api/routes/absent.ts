import type { FastifyInstance, FastifyRequest } from 'fastify';
import { expectAdministrator } from '../administrator';
import type { ApiContext } from '../api-context';
import { ApiError, badRequest, notFound } from '../errors';
import { volumeOfPath } from './volumes';

interface Absent {
  path: string;
  /** The key of an empty list; by default the path. */
  key?: string;
  /** Cinder's word for one, where it is not found. */
  word: string;
  /** From this minor version on. */
  since?: number;
  /** Cinder's name of the rule by which only administrators see them. */
  rule?: string;
  /** Whether there is a list with details. */
  hasDetail?: boolean;
  /** Why none is made. */
  refusal: () => ApiError;
}

const noService = (): ApiError => new ApiError(503, 'Service cinder-backup could not be found.');
const unsupported = (what: string) => (): ApiError => badRequest(`Invalid input received: ${what} are not supported.`);

/** Resources of Cinder that we do not have: answered as where there is none, and nobody to make one. */
const absent: Absent[] = [
  { path: 'backups', word: 'Backup', hasDetail: true, refusal: noService },
  { path: 'groups', word: 'Group', since: 13, hasDetail: true, refusal: unsupported('groups') },
  {
    path: 'group_snapshots',
    word: 'GroupSnapshot',
    since: 14,
    hasDetail: true,
    refusal: unsupported('group snapshots'),
  },
  { path: 'group_types', word: 'Group type', since: 11, refusal: unsupported('group types') },
  { path: 'consistencygroups', word: 'Group', hasDetail: true, refusal: unsupported('consistency groups') },
  { path: 'cgsnapshots', word: 'GroupSnapshot', hasDetail: true, refusal: unsupported('snapshots of groups') },
  {
    path: 'qos-specs',
    key: 'qos_specs',
    word: 'QoS Specs',
    rule: 'volume_extension:qos_specs_manage:get_all',
    refusal: unsupported('QoS specs'),
  },
  {
    path: 'clusters',
    word: 'Cluster',
    since: 7,
    rule: 'clusters:get_all',
    hasDetail: true,
    refusal: unsupported('clusters'),
  },
  {
    path: 'manageable_volumes',
    key: 'manageable-volumes',
    word: 'Volume',
    since: 8,
    rule: 'volume_extension:list_manageable',
    hasDetail: true,
    refusal: unsupported('volumes that were not made here'),
  },
  {
    path: 'manageable_snapshots',
    key: 'manageable-snapshots',
    word: 'Snapshot',
    since: 8,
    rule: 'snapshot_extension:list_manageable',
    hasDetail: true,
    refusal: unsupported('snapshots that were not taken here'),
  },
];

const CLEANUP_SINCE = 24;

export function registerAbsent(app: FastifyInstance, context: ApiContext): void {
  for (const resource of absent) register(app, resource);

  app.post('/workers/cleanup', async (request, reply) => {
    expectSince(request, CLEANUP_SINCE);
    expectAdministrator(request, 'workers:cleanup');
    return reply.code(202).send({ cleaning: [], unavailable: [] });
  });

  // No volume is encrypted.
  const encryption = async (request: FastifyRequest) => {
    await volumeOfPath(request, context);
    return { encryption_key_id: null };
  };
  app.get('/volumes/:volume_id/encryption', encryption);
  app.get<{ Params: { key: string } }>('/volumes/:volume_id/encryption/:key', async (request) => {
    const known: Record<string, null> = await encryption(request);
    const { key } = request.params;
    return Object.hasOwn(known, key) ? known[key] : null;
  });
}

function register(app: FastifyInstance, { path, key = path, word, since = 0, rule, hasDetail, refusal }: Absent): void {
  const expectServed = (request: FastifyRequest) => {
    expectSince(request, since);
    if (rule !== undefined) expectAdministrator(request, rule);
  };
  const list = async (request: FastifyRequest) => {
    expectServed(request);
    return { [key]: [] };
  };
  app.get(`/${path}`, list);
  if (hasDetail) app.get(`/${path}/detail`, list);
  app.post(`/${path}`, async (request) => {
    expectServed(request);
    throw refusal();
  });
  for (const method of ['GET', 'PUT', 'DELETE'] as const)
    app.route<{ Params: { id: string } }>({
      method,
      url: `/${path}/:id`,
      handler: async (request) => {
        expectServed(request);
        throw notFound(`${word} ${request.params.id.slice(0, 255)} could not be found.`);
      },
    });
}

function expectSince({ minor }: FastifyRequest, since: number): void {
  if (minor < since) throw notFound('The resource could not be found.');
}
