import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { runCommand } from '../../../activities/command';
import { userCacheDirectory } from '../../../client/config/data-directory';
import { MiB } from '../../../workflows/contract/bytes';
import {
  ensureTools,
  getPackages,
  unpackPackages,
  withFreshIndex,
  type DebianPackage,
} from '../machine/debian-packages';
import { FIRST_SECTOR, writeDisk } from './boot-partitions';
import { initramfsInit, rootInit, syslinuxConfiguration } from './boot-scripts';

const TIMEOUT_MS = 60_000;
const BOOT_PARTITION_BYTES = 40 * MiB;
const ROOT_PARTITION_BYTES = 16 * MiB;
const TOOL_DIRECTORIES = ['bin', 'sbin', 'usr/bin', 'usr/sbin'];
const KERNEL = 'linux-image-cloud-amd64';
const OTHER_PACKAGES = ['busybox-static', 'syslinux', 'syslinux-common', 'mtools', 'dosfstools'];
/** What decides the disk's bytes beside the packages. */
const RECIPE = ['./bootable-disk', './boot-partitions', './boot-scripts'];

/**
 * Makes a small disk that boots by itself: boot loader and Debian's kernel on a FAT partition, a root file system of busybox on ext4.
 * No mount, no loop device, and no package of the guest's is installed: a run that dies leaves a temporary directory at most.
 * The disk is kept in the user's cache directory by its packages' versions.
 * @returns the path of a qcow2 file, which must not be changed.
 */
export async function ensureBootableDisk(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ivc-boot-disk-'));
  try {
    const path = await withFreshIndex(() => unpackUnlessMade(directory));
    if (!existsSync(path)) await publish(await makeDisk(directory), path);
    return path;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns where the disk is or will be; when it is not there yet, its packages are below `directory/debian`. */
async function unpackUnlessMade(directory: string): Promise<string> {
  const packages = await choosePackages();
  const path = join(userCacheDirectory(), `boot-disk-${await cacheKeyOf(packages)}.qcow2`);
  if (!existsSync(path)) await unpackPackages(packages, { archives: directory, directory: join(directory, 'debian') });
  return path;
}

/** Debian names the newest kernel by a package that depends on it. */
async function choosePackages(): Promise<DebianPackage[]> {
  const [newest] = await getPackages([KERNEL]);
  const kernel = newest?.depends.split(' ')[0];
  if (kernel === undefined) throw new Error(`${KERNEL} names no kernel`);
  return await getPackages([kernel, ...OTHER_PACKAGES]);
}

async function cacheKeyOf(packages: readonly DebianPackage[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(packages));
  for (const source of RECIPE) hash.update(await readFile(require.resolve(source)));
  return hash.digest('hex').slice(0, 16);
}

async function makeDisk(directory: string): Promise<string> {
  await ensureTools({ 'mkfs.ext4': 'e2fsprogs', 'qemu-img': 'qemu-utils' });
  const debian = join(directory, 'debian');
  const boot = await makeBootPartition(debian, directory);
  const root = await makeRootPartition(debian, directory);
  const raw = join(directory, 'disk.raw');
  await writeDisk(raw, await readFile(join(debian, 'usr/lib/syslinux/mbr/mbr.bin')), [
    { path: boot, type: 0x06, active: true },
    { path: root, type: 0x83 },
  ]);
  const qcow2 = join(directory, 'disk.qcow2');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  return qcow2;
}

async function makeBootPartition(debian: string, directory: string): Promise<string> {
  const partition = join(directory, 'boot.fat');
  const configuration = join(directory, 'syslinux.cfg');
  await writeFile(configuration, syslinuxConfiguration);
  const initramfs = await makeInitramfs(debian, directory);
  // The boot loader finds itself by the number of sectors before its partition.
  await writeEmpty(partition, BOOT_PARTITION_BYTES);
  await runUnpacked(debian, ['mkfs.fat', '-F', '16', '-h', String(FIRST_SECTOR), partition]);
  await runUnpacked(debian, ['syslinux', '--install', partition]);
  const files = { vmlinuz: await findKernel(debian), 'initrd.gz': initramfs, 'syslinux.cfg': configuration };
  for (const [name, source] of Object.entries(files))
    await runUnpacked(debian, ['mcopy', '-i', partition, source, `::${name}`]);
  return partition;
}

/** Debian's kernel has ext4 built in and virtio as modules. */
async function makeInitramfs(debian: string, directory: string): Promise<string> {
  const tree = join(directory, 'initramfs');
  await makeTree(debian, tree, { directories: ['proc', 'dev', 'root'], files: { init: initramfsInit } });
  const [version = ''] = await readdir(join(debian, 'lib/modules'));
  const drivers = join('lib/modules', version, 'kernel/drivers');
  for (const [folder, ...files] of [
    ['virtio', 'virtio', 'virtio_ring', 'virtio_pci', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev'],
    ['block', 'virtio_blk'],
  ] as const) {
    await mkdir(join(tree, drivers, folder), { recursive: true });
    for (const file of files)
      await copyFile(join(debian, drivers, folder, `${file}.ko`), join(tree, drivers, folder, `${file}.ko`));
  }
  await runUnpacked(debian, ['busybox', 'depmod', '-b', tree, version]);
  const archive = join(directory, 'initrd.gz');
  const pack = 'cd "$1" && find . | busybox cpio -o -H newc -R 0:0 | gzip -1 > "$2"';
  await runUnpacked(debian, ['sh', '-c', pack, 'pack', tree, archive]);
  return archive;
}

async function makeRootPartition(debian: string, directory: string): Promise<string> {
  const partition = join(directory, 'root.ext4');
  const tree = join(directory, 'root');
  await makeTree(debian, tree, {
    directories: ['proc', 'sys', 'dev', 'sbin', 'marks'],
    files: { 'sbin/init': rootInit },
  });
  await writeEmpty(partition, ROOT_PARTITION_BYTES);
  await run('mkfs.ext4', ['-q', '-F', '-d', tree, partition]);
  return partition;
}

/** A root directory with busybox under all its names. */
async function makeTree(
  debian: string,
  tree: string,
  { directories, files }: { directories: string[]; files: Record<string, string> },
): Promise<void> {
  for (const name of ['bin', ...directories]) await mkdir(join(tree, name), { recursive: true });
  await copyFile(join(debian, 'bin/busybox'), join(tree, 'bin/busybox'));
  await chmod(join(tree, 'bin/busybox'), 0o755);
  for (const name of (await runUnpacked(debian, ['busybox', '--list'])).split(/\s+/))
    if (name !== '' && name !== 'busybox') await symlink('busybox', join(tree, 'bin', name));
  for (const [name, text] of Object.entries(files)) await writeFile(join(tree, name), text, { mode: 0o755 });
}

async function findKernel(debian: string): Promise<string> {
  const kernel = (await readdir(join(debian, 'boot'))).find((name) => name.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new Error('the kernel package holds no vmlinuz');
  return join(debian, 'boot', kernel);
}

async function writeEmpty(path: string, sizeBytes: number): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
}

/** Appears whole or not at all, whoever makes it at the same time. */
async function publish(file: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}`;
  await copyFile(file, temporary);
  await rename(temporary, path);
}

/** Runs one of the unpacked tools, which find each other by PATH. @returns what it says. */
async function runUnpacked(debian: string, command: string[]): Promise<string> {
  const path = TOOL_DIRECTORIES.map((directory) => join(debian, directory)).join(':');
  return await run('env', [`PATH=${path}:${process.env['PATH']}`, ...command]);
}

async function run(tool: string, args: string[]): Promise<string> {
  return (await runCommand(tool, args, { timeoutMs: TIMEOUT_MS })).stdout;
}
