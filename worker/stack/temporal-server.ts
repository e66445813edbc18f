import { readFile } from 'node:fs/promises';
import { status } from '@grpc/grpc-js';
import { isGrpcServiceError, type Connection } from '@temporalio/client';
import { google, temporal } from '@temporalio/proto';
import { openTemporal } from '../../client/open-temporal';
import { searchAttributeNames } from '../../workflows/contract/names';
import { choosePort, isListeningOn, PortTaken, startOnFreePorts, type OnPortMoved } from '../ports';
import { assertGoingOn, PartEnded, startPart, type Part } from './part';
import { waitFor } from './wait';

export interface TemporalServerOptions {
  /** The `temporal` executable. */
  binary: string;
  logPath: string;
  pidPath?: string;
  namespace?: string;
  /** Wanted TCP ports of 127.0.0.1; 0, the default, is any free one. */
  port?: number;
  uiPort?: number;
  /** Where workflows are kept; default: in memory, gone when it stops. */
  databaseFile?: string;
  /** How long closed workflows of the namespace are kept. */
  retentionMs?: number;
  signal?: AbortSignal;
  /** Told about each port that was in use. */
  onMoved?: OnPortMoved;
}

export interface TemporalServer {
  address: string;
  namespace: string;
  uiUrl: string;
  metricsUrl: string;
  part: Part;
  stop: () => Promise<void>;
}

const READY_DEADLINE_MS = 60_000;
const STOP_SIGNALS = ['SIGTERM', 'SIGKILL'] as const;

/**
 * Doubles the throughput of the file; `kill -9` loses nothing, a power cut at most the last transactions, never the
 * file.
 */
const PRAGMAS = ['journal_mode=wal', 'synchronous=normal', 'wal_autocheckpoint=50000'];

/**
 * Starts a Temporal server with its web UI on 127.0.0.1 and returns when it answers for the namespace. Undo: `stop`.
 */
export async function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer> {
  return await startOnFreePorts(
    () => choosePorts(options),
    (ports) => startOn(ports, options),
  );
}

async function startOn(ports: Ports, options: TemporalServerOptions): Promise<TemporalServer> {
  const { binary, logPath, pidPath, namespace = 'default' } = options;
  const part = await startPart({
    name: 'temporal',
    command: binary,
    args: serverArguments(ports, { ...options, namespace }),
    env: serverEnvironment(),
    logPath,
    pidPath,
    stopSignals: STOP_SIGNALS,
  });
  try {
    await waitUntilServing(ports.port, { ...options, namespace, part });
  } catch (error) {
    await part.stop();
    throw (await findTakenPort(error)) ?? error;
  }
  return {
    address: `127.0.0.1:${ports.port}`,
    namespace,
    uiUrl: `http://127.0.0.1:${ports.uiPort}`,
    metricsUrl: `http://127.0.0.1:${ports.metricsPort}/metrics`,
    part,
    stop: () => part.stop(),
  };
}

/** It chooses the ports of its inner services itself, and ends when another process is faster. */
async function findTakenPort(error: unknown): Promise<PortTaken | undefined> {
  if (!(error instanceof PartEnded)) return undefined;
  const { logPath, logStart } = error.part;
  const line = (await readFile(logPath))
    .toString('utf8', logStart)
    .split('\n')
    .find((text) => text.includes('address already in use'));
  return line === undefined ? undefined : new PortTaken(`${error.message}: ${line}`, { cause: error });
}

type Ports = {
  port: number;
  uiPort: number;
  metricsPort: number;
};

async function choosePorts({ port = 0, uiPort = 0, onMoved }: TemporalServerOptions): Promise<Ports> {
  return {
    port: await choosePort(port, { what: 'API', onMoved }),
    uiPort: await choosePort(uiPort, { what: 'web UI', onMoved }),
    metricsPort: await choosePort(0),
  };
}

function serverArguments(
  { port, uiPort, metricsPort }: Ports,
  options: TemporalServerOptions & { namespace: string },
): string[] {
  const flags: [string, string | number][] = [
    ['--ip', '127.0.0.1'],
    ['--port', port],
    ['--ui-port', uiPort],
    ['--metrics-port', metricsPort],
    ['--namespace', options.namespace],
    ['--log-level', 'warn'],
    ...searchAttributeNames.map((name): [string, string] => ['--search-attribute', `${name}=Keyword`]),
    ...(options.databaseFile === undefined ? [] : fileFlags(options.databaseFile)),
  ];
  return ['server', 'start-dev', '--ui-disable-news-fetch', ...flags.flat().map(String)];
}

function fileFlags(databaseFile: string): [string, string][] {
  return [['--db-filename', databaseFile], ...PRAGMAS.map((pragma): [string, string] => ['--sqlite-pragma', pragma])];
}

/** Nothing of the caller's TEMPORAL_* variables, which speak to clients. */
function serverEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR, LANG: 'C.UTF-8' };
}

interface ServingOptions {
  namespace: string;
  part: Part;
  retentionMs?: number;
  signal?: AbortSignal;
}

async function waitUntilServing(port: number, { namespace, part, retentionMs, signal }: ServingOptions): Promise<void> {
  const common = { deadlineMs: READY_DEADLINE_MS, unless: () => assertGoingOn(part, signal) };
  // A gRPC connection that is refused tries again only after a second.
  const listening = { ...common, what: `the Temporal server to listen on port ${port}`, intervalMs: 20 };
  await waitFor(async () => (await isListeningOn(port, part.process.pid)) || undefined, listening);
  const serving = { ...common, what: `the Temporal server to serve the namespace ${namespace}` };
  await waitFor(() => serves(`127.0.0.1:${port}`, { namespace, retentionMs }), serving);
}

const CONNECT_TIMEOUT_MS = 2000;
const WORKFLOW_TASKS = temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW;

async function serves(
  address: string,
  { namespace, retentionMs }: { namespace: string; retentionMs?: number },
): Promise<true> {
  const connection = openTemporal({ address, connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    await connection.ensureConnected();
    await connection.workflowService.describeNamespace({ namespace });
    await assertInnerServices(connection, namespace);
    if (retentionMs !== undefined) await setRetention(connection, namespace, retentionMs);
    return true;
  } finally {
    await connection.close();
  }
}

/** The frontend serves before what lies behind it: matching is asked for a task queue, history for a run that is not there. */
async function assertInnerServices({ workflowService }: Connection, namespace: string): Promise<void> {
  await workflowService.describeTaskQueue({ namespace, taskQueue: { name: 'startup' }, taskQueueType: WORKFLOW_TASKS });
  try {
    await workflowService.describeWorkflowExecution({ namespace, execution: { workflowId: 'startup' } });
  } catch (error) {
    if (!isGrpcServiceError(error) || error.code !== status.NOT_FOUND) throw error;
  }
}

async function setRetention(connection: Connection, namespace: string, retentionMs: number): Promise<void> {
  const workflowExecutionRetentionTtl = google.protobuf.Duration.fromObject({ seconds: Math.ceil(retentionMs / 1000) });
  await connection.workflowService.updateNamespace({ namespace, config: { workflowExecutionRetentionTtl } });
}
