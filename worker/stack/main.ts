import { parseArgs } from 'node:util';
import { note, print } from '../../client/cli/output/print';
import { ConfigError } from '../../client/config/config-error';
import { loadConfig } from '../../client/config/load';
import type { StackEvent } from '../../client/config/stack-events';
import { forbidCoreDumps } from '../core-dumps';
import { ExternalUnavailable } from '../external';
import { ensureLayout } from './stack-layout';
import { killRecordedProcesses } from './process-files';
import { stopStack } from './stop-stack';
import { superviseStack } from './supervisor';
import { errorMessage } from '../../lib/error-message';

/**
 * The process behind `ivc up` and `ivc down`: `main.js up|down --data DIRECTORY [--config FILE] [--bound]`.
 * It tells its parent by IPC what it tells its own output. `--bound`: the stack stops when the parent goes.
 */
async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { data: { type: 'string' }, config: { type: 'string' }, bound: { type: 'boolean', default: false } },
  });
  await forbidCoreDumps();
  const loaded = loadConfig({ path: values.config, data: values.data });
  if (positionals[0] === 'down') return report({ kind: 'line', text: await stopStack(loaded.dataDirectory) });
  const { run } = ensureLayout(loaded.dataDirectory);
  const stop = stopOnSignals({
    bound: values.bound,
    // A second request does not wait: nothing is left running, and the next start recovers.
    onSecond: () => {
      killRecordedProcesses(run);
      process.exit(EXIT_INTERRUPTED);
    },
  });
  await superviseStack({ loaded, report, stop });
}

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_UNAVAILABLE = 5;
const EXIT_INTERRUPTED = 130;

function stopOnSignals({ bound, onSecond }: { bound: boolean; onSecond: () => void }): AbortSignal {
  const controller = new AbortController();
  const ask = (reason: string) => (controller.signal.aborted ? onSecond() : controller.abort(reason));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ask(signal));
  if (bound) process.once('disconnect', () => controller.abort('the command that started it has ended'));
  return controller.signal;
}

function report(event: StackEvent): void {
  if (event.kind === 'line') print(`${new Date().toISOString()} ${event.text}`.split('\n'));
  if (event.kind === 'ready') print(`${new Date().toISOString()} ready`);
  if (event.kind === 'failed') note(`${new Date().toISOString()} ${event.message}`.split('\n'));
  if (process.connected) process.send?.(event, undefined, undefined, () => undefined);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigError) return EXIT_USAGE;
  return error instanceof ExternalUnavailable ? EXIT_UNAVAILABLE : EXIT_FAILED;
}

main()
  .catch((error: unknown) => {
    process.exitCode = exitCodeOf(error);
    report({
      kind: 'failed',
      message: errorMessage(error),
      exitCode: process.exitCode,
    });
  })
  .finally(() => {
    if (process.connected) process.disconnect();
  });
