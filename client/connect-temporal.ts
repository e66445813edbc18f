import { Client } from '@temporalio/client';
import { openTemporal } from './open-temporal';
import { missing, type Settings } from './settings';
import { toImageVolumeCacheError } from './temporal-errors';
import { findTracing } from './tracing';

/** How long a server that is there may take to answer the first time. */
const CONNECT_TIMEOUT_MS = 5000;

/** @throws ImageVolumeCacheError `NotConfigured`, `TemporalUnavailable` */
export async function connectTemporal(settings: Settings): Promise<Client> {
  const address = settings.address ?? missing('Temporal server', 'TEMPORAL_ADDRESS', settings);
  const connection = openTemporal({ address, ...settings.temporalAccess(), connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    await connection.ensureConnected();
  } catch (error) {
    await connection.close();
    throw toImageVolumeCacheError(error, { temporal: address });
  }
  return new Client({ connection, namespace: settings.namespace, interceptors: findTracing()?.interceptors() });
}
