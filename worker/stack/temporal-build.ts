import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { askTool, findOnPath, isAtLeast, isExecutable } from './commands';
import { acquireProcessLock, describeHolder } from '../../activities/process-lock';

export interface TemporalBuildOptions {
  moduleDirectory: string;
  cacheDirectory: string;
  env: NodeJS.ProcessEnv;
  onProgress: (line: string) => void;
  /** Aborted to end the build. */
  signal?: AbortSignal;
}

const PACKAGE = 'github.com/temporalio/cli/cmd/temporal';
const BUILD_DEADLINE_MS = 45 * 60_000;
const PROGRESS_INTERVAL_MS = 5000;
const LOCK_INTERVAL_MS = 100;

/** Builds the pinned Temporal server once into the cache directory; of several calls at once, one builds and the others wait.
 *  @returns the absolute path of the binary.  @throws Error of one line when Go is missing or too old, or when the build fails. */
export async function ensureTemporalBuild(options: TemporalBuildOptions): Promise<string> {
  const goMod = readFileSync(join(options.moduleDirectory, 'go.mod'), 'utf8');
  const target = join(options.cacheDirectory, binaryName(goMod));
  if (isExecutable(target)) return target;
  mkdirSync(options.cacheDirectory, { recursive: true, mode: 0o700 });
  const release = await waitForLock(`${target}.lock`, options);
  try {
    if (!isExecutable(target)) await build(target, { ...options, go: await findGo(goMod, options) });
    return target;
  } finally {
    release();
  }
}

/** Another go.mod is another binary. */
function binaryName(goMod: string): string {
  const version = /github\.com\/temporalio\/cli v(\S+)/.exec(goMod)?.[1] ?? 'unknown';
  return `temporal-${version}-${createHash('sha256').update(goMod).digest('hex').slice(0, 12)}`;
}

async function waitForLock(path: string, { onProgress, signal }: TemporalBuildOptions): Promise<() => void> {
  const deadline = performance.now() + BUILD_DEADLINE_MS;
  let told = false;
  for (;;) {
    signal?.throwIfAborted();
    const lock = await acquireProcessLock(path);
    if (lock.kind === 'acquired') return lock.release;
    const holder = describeHolder(lock.by);
    if (performance.now() > deadline)
      throw new Error(`${holder} is still building the Temporal server after ${BUILD_DEADLINE_MS / 60_000} min`);
    if (!told) onProgress(`waiting for ${holder}, which is building the Temporal server`);
    told = true;
    await sleep(LOCK_INTERVAL_MS);
  }
}

/** Run in the module: a Go that is older than go.mod wants is still right when it can fetch the newer one by itself. */
async function findGo(goMod: string, { env, moduleDirectory }: TemporalBuildOptions): Promise<string> {
  const wanted = /^go (\S+)$/m.exec(goMod)?.[1] ?? '1.26.4';
  const go = findOnPath('go', env);
  const version =
    go === undefined
      ? undefined
      : /^go(\d+(?:\.\d+)+)/.exec((await askTool(go, ['env', 'GOVERSION'], { cwd: moduleDirectory, env })) ?? '')?.[1];
  if (go !== undefined && version !== undefined && isAtLeast(version, wanted)) return go;
  const found =
    go === undefined
      ? 'there is no go on PATH'
      : `${go} is ${version === undefined ? 'too old' : `version ${version}`}`;
  throw new Error(
    `no Temporal server found, and building one needs Go ${wanted} or newer (${found}): install it from https://go.dev/dl/, or the Temporal CLI 1.8.2 or newer from https://docs.temporal.io/cli, or set TEMPORAL_ADDRESS`,
  );
}

/** Builds beside the target and renames, so that the target is complete whenever it exists. */
async function build(target: string, options: TemporalBuildOptions & { go: string }): Promise<void> {
  const { go, moduleDirectory, env, onProgress, signal = new AbortController().signal } = options;
  const partial = `${target}.partial`;
  onProgress(`building ${basename(target)} with ${go}; this is done once and takes a few minutes`);
  const args = ['build', '-v', '-trimpath', '-ldflags', '-s -w', '-o', partial, PACKAGE];
  const child = spawn(go, args, {
    cwd: moduleDirectory,
    env: { ...env, CGO_ENABLED: '0', GOWORK: 'off' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  // On SIGINT go removes its temporary files.
  AbortSignal.any([signal, AbortSignal.timeout(BUILD_DEADLINE_MS)]).addEventListener('abort', () =>
    child.kill('SIGINT'),
  );
  const progress = reportProgress(child.stderr, onProgress);
  try {
    const [code, killedBy] = await once(child, 'close');
    signal.throwIfAborted();
    if (code !== 0)
      throw new Error(
        `building the Temporal server failed (${killedBy ?? `exit code ${code}`}): ${progress.lastLines()}`,
      );
    renameSync(partial, target);
  } finally {
    progress.stop();
    rmSync(partial, { force: true });
  }
}

const KEPT_LINES = 5;

/** `go build -v` names each module that it downloads and each package that it compiles. */
function reportProgress(stderr: NodeJS.ReadableStream, onProgress: (line: string) => void) {
  const started = performance.now();
  const last: string[] = [];
  const counts = { modules: 0, packages: 0 };
  createInterface({ input: stderr }).on('line', (line) => {
    counts[line.startsWith('go: downloading') ? 'modules' : 'packages'] += 1;
    last.push(line);
    if (last.length > KEPT_LINES) last.shift();
  });
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - started) / 1000);
    onProgress(
      `building the Temporal server: ${counts.modules} modules downloaded, ${counts.packages} packages compiled, ${seconds} s`,
    );
  }, PROGRESS_INTERVAL_MS);
  return { stop: () => clearInterval(timer), lastLines: () => last.join(' | ') };
}
