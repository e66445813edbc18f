import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runningStack } from './running-stack';
import { ensureTemporalBinary } from '../../../worker/stack/temporal-binary';
import { startPostgres } from '../../../worker/stack/postgres';
import { startTemporalServer } from '../../../worker/stack/temporal-server';

/**
 * Starts one Temporal server (in memory) and one PostgreSQL (nothing flushed) for a whole run, whatever the number of projects that name this file.
 * Tests find them in `IVC_TEST_TEMPORAL_ADDRESS`, `IVC_TEST_TEMPORAL_UI`, `IVC_TEST_TEMPORAL_METRICS` and `IVC_TEST_DATABASE_URL` (the administrator's database `postgres`); `IVC_TEST_DIRECTORY` is theirs to share, and ends with the run.
 */
async function globalSetup(): Promise<void> {
  if (runningStack.directory !== undefined) return;
  const directory = mkdtempSync(join(tmpdir(), 'ivc-test-'));
  runningStack.directory = directory;
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  runningStack.stopWhenKilled();
  process.env['IVC_TEST_DIRECTORY'] = directory;
  const outcomes = await Promise.allSettled([startTestTemporal(directory), startTestPostgres(directory)]);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (!failed) return;
  await runningStack.stop();
  throw failed.reason;
}

async function startTestTemporal(directory: string): Promise<void> {
  const { path: binary } = await ensureTemporalBinary({ onProgress: (line) => process.stderr.write(`${line}\n`) });
  const temporal = await startTemporalServer({ binary, logPath: join(directory, 'temporal.log') });
  runningStack.parts.push(temporal);
  process.env['IVC_TEST_TEMPORAL_ADDRESS'] = temporal.address;
  process.env['IVC_TEST_TEMPORAL_UI'] = temporal.uiUrl;
  process.env['IVC_TEST_TEMPORAL_METRICS'] = temporal.metricsUrl;
}

async function startTestPostgres(directory: string): Promise<void> {
  const postgres = await startPostgres({
    directory: join(directory, 'postgres'),
    logPath: join(directory, 'postgres.log'),
    durable: false,
  });
  runningStack.parts.push(postgres);
  process.env['IVC_TEST_DATABASE_URL'] = postgres.url;
}

export = globalSetup;
