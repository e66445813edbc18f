import { Command } from 'commander';
import { openIdentity } from '../activities/keystone/identity';
import { connectClient, type ImageVolumeCache } from '../client/connection';
import { ConfigError, type ConfigIssue } from '../client/config/config-error';
import { note } from '../client/cli/output/print';
import { exitCodes, ImageVolumeCacheError } from '../client/errors';
import { createLogger } from '../client/logger';
import { errorMessage } from '../lib/error-message';
import { splitAddress } from '../lib/split-address';
import { askKeystone, trustPath, type Authenticate } from './authentication';
import { createServer } from './http-server';

/** The block-storage API as a process: ends with 0 after SIGTERM or SIGINT, when every request is answered. */
async function main(): Promise<void> {
  const options = new Command('image-volume-cache api')
    .option('--config <path>', 'temporal.yaml to use')
    .option('--data <directory>', 'data directory')
    .parse()
    .opts<{ config?: string; data?: string }>();
  const cache = await connectClient({ config: options.config, dataDirectory: options.data });
  const { config } = cache.settings.loaded;
  const logger = createLogger(config.worker.logLevel);
  const { authenticate, close } = authenticationOf(cache);
  const { availabilityZone, publicUrl } = config.api;
  const app = createServer({ cache, availabilityZone, publicUrl }, { authenticate, logger });
  const url = await app.listen(splitAddress(config.api.listen));
  logger.info({ url }, 'the block-storage API listens');
  process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`);
  await new Promise<void>((resolve) => {
    process.on('SIGTERM', () => resolve()).on('SIGINT', () => resolve());
  });
  await app.close();
  await Promise.all([close(), cache.close()]);
}

function authenticationOf({ settings }: ImageVolumeCache): { authenticate: Authenticate; close: () => Promise<void> } {
  const { api, identity } = settings.loaded.config;
  const auth = api.auth ?? (identity === undefined ? 'none' : 'keystone');
  if (auth === 'none') {
    if (!isLoopback(splitAddress(api.listen).host))
      throw refused(settings.loaded.path, {
        path: 'api.listen',
        received: api.listen,
        allowed: 'a loopback address where nobody is asked for a token (api.auth: none)',
      });
    return { authenticate: trustPath(settings.loaded.config.defaultProjectId), close: async () => undefined };
  }
  if (identity === undefined)
    throw refused(settings.loaded.path, {
      path: 'identity',
      received: 'nothing',
      allowed: 'an account at Keystone, which validates tokens (api.auth: keystone)',
    });
  const keystone = openIdentity(identity);
  return { authenticate: askKeystone(keystone, { cacheMs: api.tokenCache }), close: () => keystone.close() };
}

function refused(file: string, issue: ConfigIssue): ConfigError {
  return new ConfigError(file, [issue]);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

main().catch((error: unknown) => {
  note(errorMessage(error));
  process.exitCode = error instanceof ImageVolumeCacheError ? error.exitCode : exitCodes.failed;
});
