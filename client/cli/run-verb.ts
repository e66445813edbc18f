import { setTimeout as delay } from 'node:timers/promises';
import { Option, type Command } from 'commander';
import type { ImageVolumeCache } from '../connection';
import { exitCodes } from '../errors';
import type { StartedRun } from '../run-workflow';
import { lazy } from './lazy';
import type { ProjectOptions } from './project';
import { note, printText } from './output/print';
import { isForProgram, showRecord, withOutputOptions, type OutputOptions } from './output/show';
import { parseCount } from './values';

/** Options of every command that talks to an installation. */
export interface SharedOptions extends OutputOptions {
  config?: string;
  data?: string;
  address?: string;
  namespace?: string;
}

/** Adds the options that say which installation is meant; each has a default that finds the stack of `ivc up`. */
export function withSharedOptions(command: Command): Command {
  return withOutputOptions(command)
    .option('--config <path>', 'temporal.yaml to use (default: $IVC_CONFIG, ./temporal.yaml, the one of the package)')
    .option('--data <directory>', 'data directory of the embedded stack')
    .option('--address <host:port>', 'Temporal server (default: $TEMPORAL_ADDRESS, the running stack, temporal.yaml)')
    .option('--namespace <name>', 'Temporal namespace');
}

/** Runs `work` with a client and closes it, whatever happened. An error about a missing object names the known ones. */
export async function withClient<T>(
  options: SharedOptions & ProjectOptions,
  work: (cache: ImageVolumeCache) => Promise<T>,
): Promise<T> {
  const { config, data, address, namespace } = options;
  const cache = lazy.connection.openClient({ config, dataDirectory: data, address, namespace });
  try {
    return await work(cache);
  } catch (error) {
    throw await lazy.known.withKnown(error, { cache, options });
  } finally {
    await cache.close();
  }
}

/** Option of verbs that show what changes. */
export interface WatchOptions {
  /** Seconds between two looks. */
  watch?: number;
}

/** Adds `--watch`. */
export function withWatchOption(command: Command): Command {
  return command.addOption(
    new Option('--watch [seconds]', 'show it again and again until Ctrl-C, every two seconds unless said otherwise')
      .argParser(parseCount)
      .preset(String(DEFAULT_WATCH_S)),
  );
}

const DEFAULT_WATCH_S = 2;
/** To the top left, and all below it gone. */
const CLEAR_SCREEN = '\u001b[H\u001b[J';

/** Reads, and shows what was found; with `watch` again and again. */
export async function showFound<Found>(
  { watch, ...options }: SharedOptions & WatchOptions,
  read: (cache: ImageVolumeCache) => Promise<Found>,
  show: (found: Found) => void,
): Promise<void> {
  if (watch === undefined) return show(await withClient(options, read));
  const signals = abortOnSignals();
  await withClient(options, async (cache) => {
    while (!signals.signal.aborted) {
      const found = await read(cache);
      if (process.stdout.isTTY) printText(CLEAR_SCREEN);
      show(found);
      await delay(watch * 1000, undefined, { signal: signals.signal }).catch(() => undefined);
    }
  });
}

/** Says to people how the next page is asked for; a program has `next`. */
export function noteNextPage(next: string | null, options: OutputOptions): void {
  if (next !== null && !isForProgram(options)) note(`there may be more: --after ${next}`);
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
  options: SharedOptions,
  { isFailed, show }: { isFailed: (result: Result) => boolean; show: (done: StartedRun & Result) => void },
): number {
  if (result !== undefined) show({ ...run, ...result });
  else {
    showRecord(run, { id: 'workflowId', text: ({ workflowId }) => workflowId }, options);
    if (!isForProgram(options)) note(progressHint(run.workflowId));
  }
  return result !== undefined && isFailed(result) ? exitCodes.failed : exitCodes.done;
}

/** A volume's own workflow, whatever the stack's prefix. */
const ofVolume = /^[a-z0-9-]*(volume|delete)\/([^/]+)(?:\/[^/]+)?$/;

/** @param projectId the one that the command has named. @returns what to type about a workflow that goes on. */
export function progressHint(workflowId: string, projectId?: unknown): string {
  const [, verb, volumeId = ''] = ofVolume.exec(workflowId) ?? [];
  if (verb === undefined)
    return `See its progress with \`temporal workflow describe --workflow-id ${workflowId}\`, or in the Temporal UI.`;
  const project = typeof projectId === 'string' ? ` --project ${shellWord(projectId)}` : '';
  const see = `See its progress with \`ivc volume show ${volumeId}${project}\``;
  if (verb !== 'volume') return `${see}.`;
  return `${see}; wait for it with the same command and \`--volume-id ${volumeId}\`.`;
}

function shellWord(text: string): string {
  return /^[\w.:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
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
