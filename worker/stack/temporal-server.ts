import type { Connection } from '@temporalio/client';
import { google } from '@temporalio/proto';
import { openTemporal } from '../../client/open-temporal';
import { searchAttributeNames } from '../../workflows/contract/names';
import { choosePort, isListening, type OnPortMoved } from './ports';
import { startPart, type Part, assertGoingOn } from './part';
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
  const { binary, logPath, pidPath, namespace = 'default' } = options;
  const ports = await choosePorts(options);
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
    throw error;
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

interface Ports {
  port: number;
  uiPort: number;
  metricsPort: number;
}

async function choosePorts({ port = 0, uiPort = 0, onMoved }: TemporalServerOptions): Promise<Ports> {
  return {
    port: await choosePort(port, 'API', onMoved),
    uiPort: await choosePort(uiPort, 'web UI', onMoved),
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
  await waitFor(async () => (await isListening(port)) || undefined, listening);
  const serving = { ...common, what: `the Temporal server to serve the namespace ${namespace}` };
  await waitFor(() => serves(`127.0.0.1:${port}`, { namespace, retentionMs }), serving);
}

const CONNECT_TIMEOUT_MS = 2000;

async function serves(
  address: string,
  { namespace, retentionMs }: { namespace: string; retentionMs?: number },
): Promise<true> {
  const connection = openTemporal({ address, connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    await connection.ensureConnected();
    await connection.workflowService.describeNamespace({ namespace });
    if (retentionMs !== undefined) await setRetention(connection, namespace, retentionMs);
    return true;
  } finally {
    await connection.close();
  }
}

async function setRetention(connection: Connection, namespace: string, retentionMs: number): Promise<void> {
  const workflowExecutionRetentionTtl = google.protobuf.Duration.fromObject({ seconds: Math.ceil(retentionMs / 1000) });
  await connection.workflowService.updateNamespace({ namespace, config: { workflowExecutionRetentionTtl } });
}
