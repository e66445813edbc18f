import type { Command } from 'commander';
import type { Endpoints } from '../../config/endpoints';
import { loadConfig } from '../../config/load';
import type { StackEvent } from '../../config/stack-events';
import { exitCodes } from '../exit-codes';
import { formatEndpoints, publicEndpoints } from '../output/endpoints';
import { note, print, printJson } from '../output/print';
import { describeStanding } from '../output/standing';
import { startStackProcess, type StackProcess } from '../stack-process';

interface UpOptions {
  config?: string;
  data?: string;
  detach?: boolean;
  json?: boolean;
}

export function registerUp(program: Command): void {
  program
    .command('up')
    .description(
      'start Temporal, PostgreSQL, the image service and a worker, as far as temporal.yaml does not name others',
    )
    .option('-d, --detach', 'return when everything is ready; `ivc down` stops it')
    .option('--json', 'print where everything listens as one JSON document on stdout')
    .option('--config <path>', 'temporal.yaml to use (default: $IVC_CONFIG, ./temporal.yaml, the one of the package)')
    .option(
      '--data <directory>',
      'where all state is kept (default: $IVC_DATA, /var/lib/image-volume-cache as root, XDG state else)',
    )
    .action(async (options: UpOptions) => {
      process.exitCode = await up(options);
    });
}

/** In the foreground until Ctrl-C or until a part ends; the stack goes with this command. @returns the exit code. */
async function up({ config, data, detach = false, json = false }: UpOptions): Promise<number> {
  const loaded = loadConfig({ path: config, data });
  let outcome: Outcome = { kind: 'starting' };
  const stack = startStackProcess({
    command: 'up',
    dataDirectory: loaded.dataDirectory,
    config: loaded.path,
    bound: !detach,
    onEvent: (event) => {
      outcome = show(event, { json, detach }) ?? outcome;
      if (event.kind === 'ready') note(describeStanding(loaded.config));
      if (outcome.kind === 'ready' && detach) release(stack);
    },
  });
  const stopForwarding = forwardSignals(stack);
  const exitCode = await (detach ? Promise.race([stack.ended, released(stack)]) : stack.ended);
  stopForwarding();
  return finish(outcome, exitCode);
}

type Outcome = { kind: 'starting' } | { kind: 'ready' } | { kind: 'failed'; exitCode: number };

function show(event: StackEvent, { json, detach }: { json: boolean; detach: boolean }): Outcome | undefined {
  switch (event.kind) {
    case 'line':
      note(event.text.split('\n'));
      return undefined;
    case 'ready':
      showEndpoints(event.endpoints, json);
      note(hint(event, detach));
      return { kind: 'ready' };
    case 'failed':
      note(event.message.split('\n'));
      return { kind: 'failed', exitCode: event.exitCode };
  }
}

function showEndpoints(endpoints: Endpoints, json: boolean): void {
  if (json) return printJson(publicEndpoints(endpoints));
  print(formatEndpoints(endpoints));
}

function hint({ already, endpoints }: Extract<StackEvent, { kind: 'ready' }>, detach: boolean): string {
  if (already) return `runs already (process ${endpoints.supervisor.pid}); \`ivc down\` stops it`;
  return detach ? 'ready; `ivc down` stops it' : 'ready; Ctrl-C stops it';
}

function finish(outcome: Outcome, exitCode: number): number {
  if (outcome.kind === 'failed') return outcome.exitCode;
  if (exitCode !== 0 && outcome.kind === 'ready')
    note('the stack ended unexpectedly; `ivc up` starts it again and finds everything');
  if (exitCode !== 0 && outcome.kind === 'starting')
    note('the stack could not be started; logs/supervisor.log in the data directory tells why');
  return exitCode === 0 ? exitCodes.done : exitCodes.failed;
}

/** Lets the detached stack go on without us. */
function release({ child }: StackProcess): void {
  child.unref();
  if (child.connected) child.disconnect();
}

async function released({ child }: StackProcess): Promise<number> {
  await new Promise((resolve) => child.once('disconnect', resolve));
  return exitCodes.done;
}

/** A second signal is passed on too: then the stack does not wait for its parts. */
function forwardSignals({ child }: StackProcess): () => void {
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of forwarded) process.on(signal, forward);
  return () => {
    for (const signal of forwarded) process.off(signal, forward);
  };
}

const forwarded = ['SIGINT', 'SIGTERM'] as const;
