import { existsSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findTool, runCommand } from '../../../activities/command';

/** A package's entry in Debian's index. */
export interface DebianPackage {
  name: string;
  version: string;
  /** As in the index: `linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), …`. */
  depends: string;
}

const QUERY_TIMEOUT_MS = 30_000;
const UPDATE_TIMEOUT_MS = 120_000;
const INSTALL_TIMEOUT_MS = 600_000;
const INSTALL = ['install', '-y', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold'];
const UNPACK_TIMEOUT_MS = 60_000;
/** Another run may be installing just now. */
const LOCK_TIMEOUT_S = 180;

/** Installs what is missing of `tools`, program name to Debian package. As root only; nothing is started. */
export async function ensureTools(tools: Record<string, string>): Promise<void> {
  const missing = Object.keys(tools).filter((tool) => findTool(tool) === undefined);
  await install([...new Set(missing.flatMap((tool) => tools[tool] ?? []))]);
}

/** Installs which of the Debian packages are missing. As root only; nothing is started. */
export async function ensurePackages(names: readonly string[]): Promise<void> {
  const query = ['--show', '--showformat=${Package} ${db:Status-Status}\n', ...names];
  // 1: some have never been heard of.
  const { stdout } = await runCommand('dpkg-query', query, { timeoutMs: QUERY_TIMEOUT_MS, answers: [0, 1] });
  const installed = stdout.split('\n');
  await install(names.filter((name) => !installed.includes(`${name} installed`)));
}

/** @returns the versions of those that are installed, by name. */
export async function installedVersions(names: readonly string[]): Promise<Record<string, string>> {
  const query = ['--show', '--showformat=${Package} ${Version}\n', ...names];
  const { stdout } = await runCommand('dpkg-query', query, { timeoutMs: QUERY_TIMEOUT_MS, answers: [0, 1] });
  return Object.fromEntries(stdout.split('\n').map((line) => line.split(' ', 2) as [string, string]));
}

/** The system's own services of a package must not start. */
const POLICY_PATH = '/usr/sbin/policy-rc.d';

async function install(packages: readonly string[]): Promise<void> {
  if (packages.length === 0) return;
  const list = packages.join(' ');
  if (process.getuid?.() !== 0 || findTool('apt-get') === undefined)
    throw new Error(`missing here: type \`sudo apt-get install --no-install-recommends ${list}\` and try again`);
  process.stderr.write(`installing ${list}\n`);
  const hasPolicy = existsSync(POLICY_PATH);
  if (!hasPolicy) await writeFile(POLICY_PATH, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  try {
    await withFreshIndex(() => apt([...INSTALL, ...packages], INSTALL_TIMEOUT_MS));
  } finally {
    if (!hasPolicy) await rm(POLICY_PATH, { force: true });
  }
}

/** @returns what the machine's package index says of `names`, in their order. @throws when one is not in it. */
export async function getPackages(names: readonly string[]): Promise<DebianPackage[]> {
  const query = ['show', '--no-all-versions', ...names];
  const { stdout } = await runCommand('apt-cache', query, { timeoutMs: QUERY_TIMEOUT_MS });
  const packages = stdout.split(/\n\n+/).map(parsePackage);
  return names.map((name) => {
    const found = packages.find((candidate) => candidate.name === name);
    if (found === undefined) throw new Error(`there is no package ${name} in this machine's package index`);
    return found;
  });
}

/** Unpacks packages below `directory` without installing them; their archives are kept in `archives`, which must exist. */
export async function unpackPackages(
  packages: readonly DebianPackage[],
  { archives, directory }: { archives: string; directory: string },
): Promise<void> {
  const wanted = packages.map(({ name, version }) => `${name}=${version}`);
  // `apt-get download` knows no target but its working directory.
  const download = ['-C', archives, 'apt-get', '-q', 'download', ...wanted];
  await runCommand('env', download, { timeoutMs: INSTALL_TIMEOUT_MS });
  for (const file of await readdir(archives))
    if (file.endsWith('.deb'))
      await runCommand('dpkg-deb', ['-x', join(archives, file), directory], { timeoutMs: UNPACK_TIMEOUT_MS });
}

/** Does `work`, and once more with a new index where the machine's is missing or older than the archive. */
export async function withFreshIndex<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (process.getuid?.() !== 0) throw error;
    await apt(['update'], UPDATE_TIMEOUT_MS);
    return await work();
  }
}

async function apt(args: string[], timeoutMs: number): Promise<void> {
  const command = ['apt-get', '-q', '-o', `DPkg::Lock::Timeout=${LOCK_TIMEOUT_S}`, ...args];
  await runCommand('env', ['DEBIAN_FRONTEND=noninteractive', ...command], { timeoutMs });
}

function parsePackage(stanza: string): DebianPackage {
  const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
  return { name: field('Package'), version: field('Version'), depends: field('Depends') };
}
