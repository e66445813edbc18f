import type { Command } from 'commander';
import { openClient, type ImageVolumeCache } from '../connection';
import { exitCodes } from '../errors';
import type { StartedRun } from '../run-workflow';
import { note, print, printJson } from './output/print';

/** Options of every command that talks to an installation. */
export interface SharedOptions {
  json?: boolean;
  config?: string;
  data?: string;
  address?: string;
  namespace?: string;
}

/** Adds the options that say which installation is meant; each has a default that finds the stack of `ivc up`. */
export function withSharedOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout')
    .option('--config <path>', 'temporal.yaml to use (default: $IVC_CONFIG, ./temporal.yaml, the one of the package)')
    .option('--data <directory>', 'data directory of the embedded stack')
    .option('--address <host:port>', 'Temporal server (default: $TEMPORAL_ADDRESS, the running stack, temporal.yaml)')
    .option('--namespace <name>', 'Temporal namespace');
}

/** Runs `work` with a client and closes it, whatever happened. */
export async function withClient<T>(options: SharedOptions, work: (cache: ImageVolumeCache) => Promise<T>): Promise<T> {
  const { config, data, address, namespace } = options;
  const cache = openClient({ config, dataDirectory: data, address, namespace });
  try {
    return await work(cache);
  } finally {
    await cache.close();
  }
}

/** Reads, and shows what was found: as one document for a program, by `show` to a person. */
export async function showFound<Found>(
  options: SharedOptions,
  read: (cache: ImageVolumeCache) => Promise<Found>,
  show: (found: Found) => void,
): Promise<void> {
  const found = await withClient(options, read);
  if (options.json) printJson(found);
  else show(found);
}

/** How long a verb is waited for. */
export interface Waiting {
  wait?: boolean;
  signal: AbortSignal;
}

/**
 * Calls a verb of the library; Ctrl-C ends the waiting, not the work. @param show returns the exit code when it is not
 * 0.
 */
export async function runVerb<Answer>(
  options: SharedOptions & { wait?: boolean },
  call: (cache: ImageVolumeCache, waiting: Waiting) => Promise<Answer>,
  show: (answer: Answer) => number | void,
): Promise<void> {
  const signals = abortOnSignals();
  try {
    const answer = await withClient(options, (cache) => call(cache, { wait: options.wait, signal: signals.signal }));
    process.exitCode = show(answer) ?? exitCodes.done;
  } finally {
    signals.release();
  }
}

/** Shows what a workflow answered, or that it was started. @returns the exit code. */
export function showRun<Result extends object>(
  { result, ...run }: StartedRun & { result?: Result },
  { json }: SharedOptions,
  { isFailed, show }: { isFailed: (result: Result) => boolean; show: (done: StartedRun & Result) => void },
): number {
  if (json) printJson({ ...run, ...result });
  else if (result !== undefined) show({ ...run, ...result });
  else {
    print(run.workflowId);
    note(progressHint(run.workflowId));
  }
  return result !== undefined && isFailed(result) ? exitCodes.failed : exitCodes.done;
}

/** A volume's own workflow, whatever the stack's prefix. */
const ofVolume = /^[a-z0-9-]*(volume|delete)\/([^/]+)$/;

/** @returns what to type about a workflow that goes on. */
export function progressHint(workflowId: string): string {
  const [, verb, volumeId = ''] = ofVolume.exec(workflowId) ?? [];
  if (verb === undefined)
    return `See its progress with \`temporal workflow describe --workflow-id ${workflowId}\`, or in the Temporal UI.`;
  const see = `See its progress with \`ivc volume show ${volumeId}\``;
  if (verb !== 'volume') return `${see}.`;
  return `${see}; wait for it with the same command and \`--volume-id ${volumeId}\`.`;
}

/** The first SIGINT or SIGTERM aborts `signal`; the next one ends the process as it would without us. */
function abortOnSignals(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const release = (): void => {
    process.off('SIGINT', abort).off('SIGTERM', abort);
  };
  controller.signal.addEventListener('abort', release, { once: true });
  process.once('SIGINT', abort).once('SIGTERM', abort);
  return { signal: controller.signal, release };
}
