import { openTemporal } from '../../client/open-temporal';
import { connectDatabase } from '../../db/client';
import { parseDatabaseUrl } from '../../db/url';
import { isListening } from './ports';
import { errorMessage } from '../../lib/error-message';

/** A part that the configuration names does not answer. It is never replaced by an embedded one. */
export class ExternalUnavailable extends Error {
  override readonly name = 'ExternalUnavailable';
  constructor(field: string, target: string, cause: unknown) {
    const reason = errorMessage(cause);
    super(`${field}: ${target} does not answer (${reason}); it is configured, so nothing is started instead`, {
      cause,
    });
  }
}

const TIMEOUT_MS = 10_000;

/** @throws ExternalUnavailable when the server does not answer within 10 s or has no such namespace. */
export async function requireTemporal({
  address,
  namespace,
  tls,
}: {
  address: string;
  namespace: string;
  tls: boolean;
}): Promise<void> {
  try {
    // gRPC tries a refused connection again until its deadline.
    if (!(await isListening(portOf(address), hostOf(address)))) throw new Error('nothing accepts connections there');
    const connection = openTemporal({ address, tls, connectTimeout: TIMEOUT_MS });
    try {
      await connection.ensureConnected();
      await connection.withDeadline(Date.now() + TIMEOUT_MS, () =>
        connection.workflowService.describeNamespace({ namespace }),
      );
    } finally {
      await connection.close();
    }
  } catch (error) {
    throw new ExternalUnavailable('temporal.address', `${address}, namespace ${namespace},`, error);
  }
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

/** @throws ExternalUnavailable without the password when the server does not answer within seconds or refuses. */
export async function requireDatabase(url: string): Promise<void> {
  const { host, port, database: name } = parseDatabaseUrl(url);
  const database = connectDatabase(url, { maxConnections: 1 });
  try {
    await database.ping();
  } catch (error) {
    throw new ExternalUnavailable('database.url', `${host}:${port}/${name ?? ''}`, error);
  } finally {
    await database.close();
  }
}

/**
 * Any answer shows that a service is there; whether it is the right one, its first use tells. @throws
 * ExternalUnavailable
 */
export async function requireImages(endpoint: string): Promise<void> {
  try {
    const response = await fetch(endpoint, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'manual' });
    await response.body?.cancel();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new ExternalUnavailable('images.endpoint', endpoint, cause);
  }
}
