import { relative } from 'node:path';
import type { Volume } from '../client/records';
import type { AttachMode } from '../workflows/contract/attachment';
import type { Connection } from '../workflows/contract/volume';
import type { ApiContext } from './api-context';
import { badRequest } from './errors';

/** How a host attaches a volume, in Cinder's words. */
export interface ConnectionInfo {
  driver_volume_type: 'rbd' | 'nfs';
  data: Record<string, unknown>;
}

/**
 * @param mode null: for writing, unless the volume is read-only. Source: `initialize_connection` of Cinder's RBD and NFS drivers.
 * @throws ApiError 400 where hosts cannot attach it, with the reason.
 */
export function connectionInfoOf(context: ApiContext, volume: Volume, mode: AttachMode | null): ConnectionInfo {
  const { connection, readOnly } = volume;
  if (connection === null) throw badRequest(`Invalid volume: volume ${volume.volumeId} is ${volume.state}.`);
  const { driver_volume_type, data } = describe(context, volume, connection);
  const accessMode = mode ?? (readOnly ? 'ro' : 'rw');
  const ofAll = { qos_specs: null, access_mode: accessMode, encrypted: false, cacheable: false };
  return { driver_volume_type, data: { ...data, ...ofAll } };
}

function describe({ cache }: ApiContext, volume: Volume, connection: Connection): ConnectionInfo {
  const backend = cache.settings.loaded.config.backends[volume.backend];
  if (connection.driver === 'rbd') {
    const secretUuid = backend?.driver === 'rbd' ? backend.secretUuid : undefined;
    return { driver_volume_type: 'rbd', data: rbdData(volume, connection, secretUuid) };
  }
  if (backend?.driver !== 'file' || backend.export === undefined)
    throw badRequest(
      `Invalid volume: volume ${volume.volumeId} is a file on backend ${volume.backend}, which is exported to no host: backends.${volume.backend}.export says where it is.`,
    );
  const { export: exported, exportOptions, directory } = backend;
  const data = {
    export: exported,
    name: relative(directory, connection.path),
    // Glance's store wants it in any case.
    options: exportOptions ?? null,
    format: connection.format,
    volume_id: volume.volumeId,
  };
  return { driver_volume_type: 'nfs', data };
}

type RbdConnection = Extract<Connection, { driver: 'rbd' }>;

function rbdData({ volumeId }: Volume, connection: RbdConnection, secretUuid: string | undefined) {
  const { pool, namespace, image, user, monitors, conf } = connection;
  const addresses = monitors.map((monitor) => {
    const colon = monitor.lastIndexOf(':');
    return { host: monitor.slice(0, colon), port: monitor.slice(colon + 1) };
  });
  return {
    name: [pool, namespace, image].filter((part) => part !== undefined).join('/'),
    hosts: addresses.map(({ host }) => host),
    ports: addresses.map(({ port }) => port),
    cluster_name: clusterOf(conf),
    auth_enabled: true,
    auth_username: user,
    secret_type: 'ceph',
    secret_uuid: secretUuid ?? null,
    volume_id: volumeId,
    discard: true,
  };
}

/** The name that Ceph's programs take from their configuration's: `ceph` of `/etc/ceph/ceph.conf`. */
function clusterOf(conf: string): string {
  return /([^/]+)\.conf$/.exec(conf)?.[1] ?? 'ceph';
}
