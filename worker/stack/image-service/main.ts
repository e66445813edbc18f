import { note } from '../../../client/cli/output/print';
import { startImageService } from './server';
import { errorMessage } from '../../../lib/error-message';

/**
 * Started by path as a process of its own. Environment: `IVC_IMAGE_SERVICE_DIRECTORY`, `IVC_IMAGE_SERVICE_HOST`
 * (127.0.0.1), `IVC_IMAGE_SERVICE_PORT` (0: any free one), `IVC_IMAGE_SERVICE_FAULTS=1` for tests. Prints one JSON line
 * when it listens.
 */
async function main(): Promise<void> {
  const {
    IVC_IMAGE_SERVICE_DIRECTORY: directory,
    IVC_IMAGE_SERVICE_HOST: host,
    IVC_IMAGE_SERVICE_PORT: port,
    IVC_IMAGE_SERVICE_FAULTS: faults,
  } = process.env;
  if (directory === undefined || directory === '')
    throw new Error('IVC_IMAGE_SERVICE_DIRECTORY: got nothing, allowed is a directory');
  const service = await startImageService({ directory, host, port: parsePort(port ?? '0'), faults: faults === '1' });
  process.stdout.write(`${JSON.stringify({ listening: service.url })}\n`);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void service.stop());
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new Error(`IVC_IMAGE_SERVICE_PORT: got ${text}, allowed is 0 to 65535`);
}

main().catch((error: unknown) => {
  note(`image service: ${errorMessage(error)}`);
  process.exitCode = 1;
});
