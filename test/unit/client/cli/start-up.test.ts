import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import module from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { checkout } from '../../../support/machine/checkout';
import { runIvc } from '../../../support/stack/ivc';

const tell = resolve(__dirname, '../../../support/machine/tell-loaded-packages.cjs');

/** @returns how many files of each package a command has loaded when it ends; our own are `.`. */
async function filesLoadedBy(args: string[], env: NodeJS.ProcessEnv = {}): Promise<Record<string, number>> {
  const { stderr } = await runIvc(args, { ...env, NODE_OPTIONS: `--require ${tell}` });
  const [, told = ''] = /^loaded (.*)$/m.exec(stderr) ?? [];
  return JSON.parse(told) as Record<string, number>;
}

/** @returns the packages of others among them. */
async function loadedBy(args: string[], env?: NodeJS.ProcessEnv): Promise<string[]> {
  return Object.keys(await filesLoadedBy(args, env)).filter((name) => name !== '.');
}

describe('what a command loads', () => {
  it.each(['--version', '--help', 'volume create --help', 'volume extend x --size 10GB'])(
    'is nothing but the parser of arguments for `ivc %s`',
    async (line) => {
      expect(await loadedBy(line.split(' '))).toEqual(['commander']);
    },
  );

  it('is no verb of a noun for `ivc --help`', async () => {
    const files = await filesLoadedBy(['--help']);
    expect(files['.']).toBeLessThanOrEqual(55);
  });

  it('is the database and no Temporal for a list, and of the packages no more than it needs', async () => {
    const files = await filesLoadedBy(['volume', 'list'], { DATABASE_URL: 'postgres://x@127.0.0.1:1/x' });
    const { '.': own, ...packages } = files;
    expect(Object.keys(packages)).toEqual(['commander', 'drizzle-orm', 'postgres', 'yaml', 'zod']);
    // With its builders of statements it has 103; with its languages 95.
    expect(packages['drizzle-orm']).toBeLessThanOrEqual(75);
    expect(packages['zod']).toBeLessThanOrEqual(40);
    expect(own).toBeLessThanOrEqual(140);
  });
});

describe('what a process compiles', () => {
  const programs = ['client/cli/main.js', 'worker/main.js', 'worker/api/main.js'];

  it.each(programs)('is kept by %s where Node.js can, in a directory for its user alone', async (program) => {
    const home = mkdtempSync(join(tmpdir(), 'ivc-compiled-'));
    try {
      const env = { ...process.env, XDG_CACHE_HOME: home, NODE_COMPILE_CACHE: undefined };
      await promisify(execFile)(process.execPath, [join(checkout, 'dist', program), '--help'], { env });
      const directory = join(home, 'image-volume-cache/compiled');
      const isKept = 'enableCompileCache' in module;
      expect(existsSync(directory) && statSync(directory).mode & 0o777).toBe(isKept && 0o700);
      expect(isKept ? readdirSync(directory) : []).toHaveLength(isKept ? 1 : 0);
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});
