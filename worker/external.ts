import { status } from '@grpc/grpc-js';
import { isGrpcServiceError } from '@temporalio/client';
import { ConfigError, type ConfigIssue } from '../client/config/config-error';
import type { LoadedConfig } from '../client/config/load';
import { openTemporal, type TemporalAccess } from '../client/open-temporal';
import { connectDatabase } from '../db/client';
import { describeUnreachable } from '../db/unreachable';
import { errorMessage } from '../lib/error-message';
import { splitAddress } from '../lib/listen-address';
import { isListening } from './ports';

/**
 * A part that the configuration names is not there, or does not let us in. It is never replaced by an embedded one. The
 * message begins with the key of the configuration, and ends with what to do.
 */
export class ExternalUnavailable extends Error {
  override readonly name = 'ExternalUnavailable';
}

const TIMEOUT_MS = 10_000;
const REFUSED: readonly status[] = [status.UNAUTHENTICATED, status.PERMISSION_DENIED];

/** @throws ExternalUnavailable when the server does not answer within 10 s or has no such namespace. */
export async function requireTemporal({
  address,
  namespace,
  access,
}: {
  address: string;
  namespace: string;
  access: TemporalAccess;
}): Promise<void> {
  try {
    // gRPC tries a refused connection again until its deadline.
    const { host, port } = splitAddress(address);
    if (!(await isListening(port, host))) throw new Error('nothing accepts connections there');
    const connection = openTemporal({ address, ...access, connectTimeout: TIMEOUT_MS });
    try {
      await connection.ensureConnected();
      await connection.withDeadline(Date.now() + TIMEOUT_MS, () =>
        connection.workflowService.describeNamespace({ namespace }),
      );
    } finally {
      await connection.close();
    }
  } catch (thrown) {
    // The SDK wraps what the first call has failed for.
    const cause = thrown instanceof Error && isGrpcServiceError(thrown.cause) ? thrown.cause : thrown;
    if (isGrpcServiceError(cause) && cause.code === status.NOT_FOUND)
      throw new ExternalUnavailable(
        `temporal.namespace: ${address} has no namespace ${namespace}: create it with \`temporal operator namespace create --address ${address} --namespace ${namespace}\`, or name another (TEMPORAL_NAMESPACE)`,
        { cause },
      );
    if (isGrpcServiceError(cause) && REFUSED.includes(cause.code))
      throw new ExternalUnavailable(
        `temporal.address: ${address} does not let us in (${errorMessage(cause)}): give the API key or the certificate of namespace ${namespace} (TEMPORAL_API_KEY, TEMPORAL_TLS_CLIENT_CERT_PATH)`,
        { cause },
      );
    throw new ExternalUnavailable(
      `temporal.address: ${address} does not answer (${errorMessage(cause)}): start it, or name another (TEMPORAL_ADDRESS)`,
      { cause },
    );
  }
}

/** @throws ExternalUnavailable without the password when the server does not answer within seconds or refuses. */
export async function requireDatabase(url: string): Promise<void> {
  const database = connectDatabase(url, { maxConnections: 1 });
  try {
    await database.ping();
  } catch (cause) {
    throw new ExternalUnavailable(describeUnreachable(url, cause), { cause });
  } finally {
    await database.close();
  }
}

/** A failure for users says less than its cause. */
function causeOf(error: unknown): string {
  return errorMessage(error instanceof Error && error.cause instanceof Error ? error.cause : error);
}

/**
 * Any answer shows that a service is there; whether it is the right one, its first use tells.
 * @throws ExternalUnavailable
 */
export async function requireImages(endpoint: string): Promise<void> {
  try {
    const response = await fetch(endpoint, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'manual' });
    await response.body?.cancel();
  } catch (cause) {
    throw new ExternalUnavailable(
      `images.endpoint: ${endpoint} does not answer (${causeOf(cause)}): start it, or name another (OS_IMAGE_ENDPOINT_OVERRIDE)`,
      { cause },
    );
  }
}

/** @throws ConfigError for each part that only `ivc up` starts. */
export function refuseEmbedded({ path, config: { temporal, database, images } }: LoadedConfig): void {
  const issue = (key: string, allowed: string): ConfigIssue => ({ path: key, received: 'embedded', allowed });
  const issues = [
    temporal.address === 'embedded' ? [issue('temporal.address', 'host:port (or TEMPORAL_ADDRESS)')] : [],
    database.url === 'embedded' ? [issue('database.url', 'a postgres:// URL (or DATABASE_URL)')] : [],
    'service' in images && images.service === 'embedded'
      ? [issue('images.service', 'catalogue, or images.endpoint (or OS_IMAGE_ENDPOINT_OVERRIDE)')]
      : [],
  ].flat();
  if (issues.length > 0) throw new ConfigError(path, issues);
}
