import { lstatSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { userCacheDirectory } from '../../client/config/data-directory';
import { packageRoot } from '../../client/config/package-root';
import { askTool, findOnPath, isAtLeast, isExecutable } from './commands';
import { ensureTemporalBuild } from './temporal-build';

export interface TemporalBinary {
  path: string;
  source: 'path' | 'sdk-download' | 'built';
}

export interface TemporalBinaryOptions {
  /** Called with one line for people, every few seconds of a build. */
  onProgress?: (line: string) => void;
  env?: NodeJS.ProcessEnv;
  /** Aborted to end a build. */
  signal?: AbortSignal;
  /** The pinned Go module that the server is built from. */
  moduleDirectory?: string;
  /** Where the Temporal SDK leaves the server that it downloads. */
  downloadDirectory?: string;
}

/** The first Temporal CLI that has all flags we use, and the server inside it. */
const MINIMUM_CLI = '1.8.2';
const MINIMUM_SERVER = '1.31.2';

/** Finds a Temporal server: on PATH, as the SDK's earlier download, or built from the pinned module, once for this user.
 *  @throws Error of one line that says what to install. */
export async function ensureTemporalBinary(options: TemporalBinaryOptions = {}): Promise<TemporalBinary> {
  const { env = process.env, onProgress = () => undefined } = options;
  const installed = findOnPath('temporal', env);
  if (installed !== undefined && (await isRecent(installed))) return { path: installed, source: 'path' };
  const downloaded = findSdkDownload(options.downloadDirectory ?? tmpdir());
  if (downloaded !== undefined && (await isRecent(downloaded))) return { path: downloaded, source: 'sdk-download' };
  const path = await ensureTemporalBuild({
    moduleDirectory: options.moduleDirectory ?? join(packageRoot(), 'tools', 'temporal'),
    cacheDirectory: userCacheDirectory(env),
    env,
    onProgress,
    signal: options.signal,
  });
  return { path, source: 'built' };
}

/** A build from source calls itself 0.0.0-DEV; then the server inside it tells its age. */
async function isRecent(path: string): Promise<boolean> {
  const version = /^temporal version (\d+\.\d+\.\d+)\S* \(Server (\d+\.\d+\.\d+)/.exec(
    (await askTool(path, ['--version'])) ?? '',
  );
  if (version?.[1] === undefined || version[2] === undefined) return false;
  return isAtLeast(version[1], MINIMUM_CLI) || (version[1] === '0.0.0' && isAtLeast(version[2], MINIMUM_SERVER));
}

const { version: sdkVersion }: { version: string } = require('@temporalio/client/package.json');

/**
 * The name is given by `ephemeral_server` of Temporal's Core SDK. The directory may be everybody's, so only our own
 * files count.
 */
function findSdkDownload(directory: string): string | undefined {
  return [`temporal-sdk-typescript-${sdkVersion}`, `temporal-v${MINIMUM_CLI}`]
    .map((name) => join(directory, name))
    .find((path) => isExecutable(path) && isOursAlone(path));
}

function isOursAlone(path: string): boolean {
  const { uid, mode } = lstatSync(path);
  return uid === process.getuid?.() && (mode & 0o022) === 0;
}
