import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, runCommand } from '../../../activities/command';

export type FileSystemType = 'ext4' | 'xfs';
export interface MountedFileSystem {
  directory: string;
  remount(mode: 'ro' | 'rw'): Promise<void>;
  /** Unmounts, frees the loop device and removes the image. */
  unmount(): Promise<void>;
}

const TIMEOUT_MS = 60_000;
const INSTALL_TIMEOUT_MS = 300_000;
const MAKERS: Record<FileSystemType, { tool: string; package: string; args: string[] }> = {
  ext4: { tool: 'mkfs.ext4', package: 'e2fsprogs', args: ['-q', '-F', '-m', '0'] },
  xfs: { tool: 'mkfs.xfs', package: 'xfsprogs', args: ['-q', '-f', '-m', 'reflink=1'] },
};

/** A new file system in a sparse file on a loop device, mounted in a directory of its own. Root only. */
export async function mountFileSystem(type: FileSystemType, sizeBytes: number): Promise<MountedFileSystem> {
  await ensureMaker(type);
  const root = await mkdtemp(join(tmpdir(), `ivc-${type}-`));
  const image = join(root, 'image');
  const directory = await mkdtemp(join(root, 'mount-'));
  try {
    await writeFile(image, '', { mode: 0o600 });
    await truncate(image, sizeBytes);
    await run(MAKERS[type].tool, [...MAKERS[type].args, image]);
    await run('mount', ['-o', 'loop', image, directory]); // umount then frees the loop device too.
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
  const unmountAtExit = (): void => void spawnSync('umount', ['--lazy', directory], { stdio: 'ignore' });
  process.once('exit', unmountAtExit);
  return {
    directory,
    remount: async (mode) => await run('mount', ['-o', `remount,${mode}`, directory]),
    unmount: async () => {
      await run('umount', [directory]);
      process.off('exit', unmountAtExit);
      await rm(root, { recursive: true, force: true });
    },
  };
}

async function ensureMaker(type: FileSystemType): Promise<void> {
  if (findTool(MAKERS[type].tool) !== undefined) return;
  await run('apt-get', ['install', '-y', '--no-install-recommends', MAKERS[type].package], INSTALL_TIMEOUT_MS);
}

async function run(tool: string, args: string[], timeoutMs = TIMEOUT_MS): Promise<void> {
  await runCommand(tool, args, { timeoutMs });
}
