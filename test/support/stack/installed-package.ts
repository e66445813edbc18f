import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(__dirname, '../../..');
const npm = async (directory: string, ...args: string[]) => {
  await promisify(execFile)('npm', args, { cwd: directory, maxBuffer: 1 << 26 });
};

/** This package as somebody else has it: `npm pack`'s tarball, installed into an empty directory. */
export interface InstalledPackage {
  directory: string;
  remove(): Promise<void>;
}

export async function installPackage(): Promise<InstalledPackage> {
  const project = await mkdtemp(join(tmpdir(), 'ivc-installed-'));
  await npm(root, 'pack', '--ignore-scripts', '--pack-destination', project);
  const [tarball = ''] = await readdir(project);
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true }));
  // Neither PostgreSQL's binaries nor koffi's are needed here, and koffi's script would compile what is omitted.
  const lean = ['--omit=optional', '--ignore-scripts'];
  await npm(project, 'install', '--prefer-offline', '--no-audit', '--no-fund', ...lean, tarball);
  return {
    directory: join(project, 'node_modules/image-volume-cache'),
    remove: () => rm(project, { recursive: true, force: true }),
  };
}
