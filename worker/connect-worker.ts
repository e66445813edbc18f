import type { Connection } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { openTemporal, type TemporalAccess } from '../client/open-temporal';

/** A process gives up, and says so, on a server that does not answer for so long. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Connects a process that has workers: `native` is theirs, `connection` that of its client. Both are closed by the caller. */
export async function connectForWorkers(
  address: string,
  access: TemporalAccess,
): Promise<{ connection: Connection; native: NativeConnection }> {
  const connection = openTemporal({ address, ...access, connectTimeout: CONNECT_TIMEOUT_MS });
  await connection.ensureConnected();
  return { connection, native: await NativeConnection.connect({ address, ...access, tls: access.tls || undefined }) };
}
