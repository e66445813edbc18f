import { unwatchFile, watchFile } from 'node:fs';
import { Server as TlsServer } from 'node:tls';
import type { ApiTls } from '../client/config/api-tls';
import type { Logger } from '../client/logger';
import { errorMessage } from '../lib/error-message';
import { secureContextOf } from './listener';

/** Between two looks at the files: links that an orchestrator turns to new files are followed. */
const LOOK_INTERVAL_MS = 10_000;

interface FollowOptions {
  files: readonly string[];
  /** @throws Error while the files do not fit each other, as in the middle of a renewal. */
  read: () => ApiTls | undefined;
  logger: Logger;
}

/**
 * Shows new clients what the files hold since they have changed, or since SIGHUP. An error of reading leaves the former in use, and is logged.
 * @returns what ends it.
 */
export function followCertificate(server: unknown, { files, read, logger }: FollowOptions): () => void {
  if (!(server instanceof TlsServer)) return () => undefined;
  const reload = () => {
    try {
      const tls = read();
      if (tls === undefined) return;
      server.setSecureContext(secureContextOf(tls));
      logger.info({ endsAt: tls.endsAt }, 'the certificate of the API was read again');
    } catch (error) {
      logger.error({ problem: errorMessage(error) }, 'the certificate of the API could not be read again');
    }
  };
  process.on('SIGHUP', reload);
  for (const file of files) watchFile(file, { interval: LOOK_INTERVAL_MS, persistent: false }, reload);
  return () => {
    process.off('SIGHUP', reload);
    for (const file of files) unwatchFile(file, reload);
  };
}
