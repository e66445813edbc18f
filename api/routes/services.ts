import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { findPollers } from '../../client/pollers';
import type { BackendStatus } from '../../client/records';
import { GiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { poolCapabilitiesOf } from '../../workflows/contract/pool-capabilities';
import { expectAdministrator } from '../administrator';
import type { ApiContext } from '../api-context';
import { badRequest, notFound } from '../errors';
import { isTrue, type Query } from '../query';
import { resourceFilters } from '../resource-filters';
import { hostOf, poolOf } from '../views/backend';
import { timeOf } from '../views/time';

interface Asked {
  Querystring: Query;
}

const serviceNamed = z.object({ host: z.string().max(255), binary: z.string().max(255) });

/** From these minor versions on. */
const CLUSTERS_SINCE = 7;
const POOL_FILTERS_SINCE = 28;
const FILTERS_SINCE = 33;
const BACKEND_STATES_SINCE = 49;

/** Workers stand for the services of Cinder: those of a backend for its volume service, those of the control queue for its scheduler. */
export function registerServices(app: FastifyInstance, context: ApiContext): void {
  const { cache, availabilityZone } = context;
  const backends = async () => await (await cache.inventory()).listBackends();
  const stateOf = async (taskQueue: string, of: 'workflows' | 'activities') => {
    const pollers = await findPollers(await cache.temporal(), { taskQueue, of });
    return pollers.length > 0 ? 'up' : 'down';
  };

  app.get('/os-availability-zone', async () => ({
    availabilityZoneInfo: [{ zoneName: availabilityZone, zoneState: { available: true } }],
  }));

  const services = async (minor: number) => {
    const common = {
      zone: availabilityZone,
      status: 'enabled',
      disabled_reason: null,
      ...(minor >= CLUSTERS_SINCE && { cluster: null }),
    };
    const ofBackend = async ({ backend, space }: BackendStatus) => {
      const state = await stateOf(cache.queues.backend(backend), 'activities');
      return {
        binary: 'cinder-volume',
        host: hostOf(backend),
        ...common,
        state,
        updated_at: timeOf(space?.seenAt ?? new Date().toISOString()),
        ...(minor >= BACKEND_STATES_SINCE && { backend_state: state }),
        replication_status: 'disabled',
        active_backend_id: null,
        frozen: false,
      };
    };
    const scheduler = {
      binary: 'cinder-scheduler',
      host: cache.queues.control,
      ...common,
      state: await stateOf(cache.queues.control, 'workflows'),
      updated_at: timeOf(new Date().toISOString()),
    };
    return [scheduler, ...(await Promise.all((await backends()).map(ofBackend)))];
  };

  app.get<Asked>('/os-services', async (request) => {
    expectAdministrator(request, 'volume_extension:services:index');
    const { host, binary } = request.query;
    const all = await services(request.minor);
    return {
      services: all.filter(
        (service) =>
          (host === undefined || service.host === host || service.host.startsWith(`${host}@`)) &&
          (binary === undefined || service.binary === binary),
      ),
    };
  });

  app.put<{ Params: { action: string }; Body: unknown }>('/os-services/:action', async (request) => {
    expectAdministrator(request, 'volume_extension:services:update');
    const named = serviceNamed.safeParse(request.body);
    if (/^(?:en|dis)able$/.test(request.params.action) && named.success) {
      const { host, binary } = named.data;
      const all = await services(request.minor);
      if (!all.some((service) => service.host === host && service.binary === binary))
        throw notFound(`Service ${binary} could not be found on host ${host}.`);
    }
    throw badRequest('Invalid input received: workers are started and stopped by their operator, not by a request.');
  });

  app.get('/os-hosts', async (request) => {
    expectAdministrator(request, 'volume_extension:hosts');
    const all = await services(request.minor);
    return {
      hosts: all.map(({ host, binary, zone, state, updated_at: seenAt }) => ({
        host_name: host,
        service: binary,
        zone,
        'service-status': state === 'up' ? 'available' : 'unavailable',
        'service-state': 'enabled',
        'last-update': seenAt,
      })),
    };
  });

  app.get<{ Params: { host: string } }>('/os-hosts/:host', async (request) => {
    expectAdministrator(request, 'volume_extension:hosts');
    const { host } = request.params;
    const found = (await backends()).find(({ backend }) => hostOf(backend) === host);
    if (found === undefined) throw notFound(`Host ${host.slice(0, 255)} could not be found.`);
    const projects = await (await cache.inventory()).listProjectTotals(found.backend);
    const sum = (name: 'volumes' | 'volumesGiB' | 'snapshots' | 'snapshotsGiB') =>
      projects.reduce((total, project) => total + project[name], 0);
    const total = {
      projectId: '(total)',
      volumes: sum('volumes'),
      volumesGiB: sum('volumesGiB'),
      snapshots: sum('snapshots'),
      snapshotsGiB: sum('snapshotsGiB'),
    };
    return {
      host: [total, ...projects].map((of) => ({
        resource: {
          host,
          project: of.projectId,
          volume_count: String(of.volumes),
          total_volume_gb: String(of.volumesGiB),
          snapshot_count: String(of.snapshots),
          total_snapshot_gb: String(of.snapshotsGiB),
        },
      })),
    };
  });

  app.get<Asked>('/scheduler-stats/get_pools', async (request) => {
    expectAdministrator(request, 'scheduler_extension:scheduler_stats:get_pools');
    const name = request.minor >= POOL_FILTERS_SINCE ? request.query['name'] : undefined;
    const pools = (await backends()).map((status) => ({ name: poolOf(status.backend), status }));
    const found = pools.filter((pool) => name === undefined || pool.name === name);
    const isDetailed = isTrue(request.query['detail']);
    return {
      pools: found.map((pool) => ({ name: pool.name, ...(isDetailed && { capabilities: detailOf(pool.status) }) })),
    };
  });

  app.get<{ Params: { host: string } }>('/capabilities/:host', async (request) => {
    expectAdministrator(request, 'volume_extension:capabilities');
    const { host } = request.params;
    const status = (await backends()).find(({ backend }) => [hostOf(backend), poolOf(backend)].includes(host));
    if (status === undefined) throw notFound(`Host ${host.slice(0, 255)} could not be found.`);
    return capabilitiesOf(host, status);
  });

  app.get<Asked>('/resource_filters', async ({ query, minor }) => {
    if (minor < FILTERS_SINCE) throw notFound('The resource could not be found.');
    const { resource } = query;
    const all = Object.entries(resourceFilters).map(([name, filters]) => ({ resource: name, filters }));
    return { resource_filters: all.filter((found) => resource === undefined || found.resource === resource) };
  });
}

function detailOf({ backend, driver, space }: BackendStatus) {
  const inGiB = (bytes: number) => Math.round((bytes / GiB) * 100) / 100;
  return {
    ...poolCapabilitiesOf(backend, driver),
    total_capacity_gb: space === null ? 'unknown' : inGiB(space.totalBytes),
    free_capacity_gb: space === null ? 'unknown' : inGiB(space.freeBytes),
    reserved_percentage: 0,
    location_info: `${driver}:${backend}`,
    backend_state: 'up',
    allocated_capacity_gb: space === null ? 0 : inGiB(space.totalBytes - space.freeBytes),
    filter_function: null,
    goodness_function: null,
    timestamp: timeOf(space?.seenAt ?? new Date().toISOString()),
  };
}

function capabilitiesOf(host: string, { backend, driver }: { backend: BackendName; driver: string }) {
  const { vendor_name, driver_version, storage_protocol, ...reported } = poolCapabilitiesOf(backend, driver);
  const property = (title: string, description: string, value: boolean) => ({
    title,
    description,
    type: 'boolean',
    default: value,
  });
  return {
    namespace: `OS::Storage::Capabilities::${host}`,
    vendor_name,
    volume_backend_name: backend,
    pool_name: null,
    driver_version,
    storage_protocol,
    display_name: null,
    description: null,
    visibility: null,
    replication_targets: [],
    properties: {
      thin_provisioning: property('Thin Provisioning', 'Sets thin provisioning.', reported.thin_provisioning_support),
      compression: property('Compression', 'Enables compression.', false),
      qos: property('QoS', 'Enables QoS.', reported.qos_support),
      replication_enabled: property('Replication', 'Enables replication.', reported.replication_enabled),
    },
  };
}
