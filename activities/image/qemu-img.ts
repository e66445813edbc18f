import { once } from 'node:events';
import { dirname, isAbsolute } from 'node:path';
import { z } from 'zod';
import { GiB, MiB } from '../../workflows/contract/bytes';
import { Failure, isFailure } from '../../workflows/contract/failures';
import { runCommand, type CommandLimits, type CommandOptions, type CommandResult } from '../command';
import { withHandedOver } from '../handed-over';
import { createToolGuard, defaultToolSettings, getDefaultToolGuard, type ToolGuard } from './tool-guard';
import { isDiskFull } from '../../lib/errno';
import { syncPath, freeBytesOrZero } from '../../lib/files';

/** Formats that are ever named to qemu-img: it is never left to guess one. */
export type QemuFormat = 'raw' | 'qcow2' | 'vmdk' | 'vpc' | 'vhdx' | 'vdi';
export interface QemuImage {
  /** Absolute. */
  path: string;
  format: QemuFormat;
  /** Of `vpc`: the disk has the size that its footer says. An older qemu-img believes the geometry of most. */
  sizeByFooter?: boolean;
}

export interface ImageInfo {
  format: string;
  virtualBytes: number;
  /** Bytes on the disk. */
  realBytes: number;
  backingFile?: string;
  dataFile?: string;
  encrypted: boolean;
  corrupt: boolean;
  snapshots: number;
}

export interface ConvertRequest {
  source: QemuImage;
  /** `path`: set where the target is a local file; it is fsynced. `qemuTarget` exists, reads as zeros and is at least as large as the source. */
  target: { qemuTarget: string; path?: string; virtualBytes: number };
  /** Named in `NoSpace`. */
  backend: string;
  /** Called with the share that is done, from 0 to 1. */
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
  guard?: ToolGuard;
}

const TOOL = 'qemu-img';
/** With progress, into a target that is there and reads as zeros, in any order, by up to 16 writes at once. */
const CONVERT = ['convert', '-p', '-n', '-W', '-m', '16', '--target-is-zero'];
const QUICK_TIMEOUT_MS = 30_000;
const QUICK_LIMITS: CommandLimits = { cpuSeconds: 20, addressSpaceBytes: 2 * GiB, openFiles: 64 };
/** A hundred steps and some; far more means that something else is being written. */
const MAX_PROGRESS_BYTES = 1024 * 1024;

const infoSchema = z
  .object({
    format: z.string(),
    'virtual-size': z.int().nonnegative(),
    'actual-size': z.int().nonnegative().default(0),
    'backing-filename': z.string().optional(),
    encrypted: z.boolean().default(false),
    snapshots: z.array(z.unknown()).default([]),
    'format-specific': z
      .object({
        data: z.object({ 'data-file': z.string().optional(), corrupt: z.boolean().default(false) }).prefault({}),
      })
      .prefault({}),
  })
  .transform((info): ImageInfo => ({
    format: info.format,
    virtualBytes: info['virtual-size'],
    realBytes: info['actual-size'],
    backingFile: info['backing-filename'],
    dataFile: info['format-specific'].data['data-file'],
    encrypted: info.encrypted,
    corrupt: info['format-specific'].data.corrupt,
    snapshots: info.snapshots.length,
  }));

/**
 * @returns what qemu-img says of an image whose format is known; a backing file is named, never opened. It runs confined.
 * @throws ToolFailed; the file system's error when the image cannot be opened.
 */
export async function getImageInfo(
  image: QemuImage,
  { signal, guard }: { signal?: AbortSignal; guard?: ToolGuard } = {},
): Promise<ImageInfo> {
  toFilename(image.path);
  const { confinement } = guard ?? (await getDefaultToolGuard());
  const stdout = await withHandedOver([{ path: image.path }], confinement.userId, async ({ descriptors, names }) => {
    const args = ['info', '--output=json', ...names.flatMap((name) => sourceArguments({ ...image, path: name }))];
    const options = { timeoutMs: QUICK_TIMEOUT_MS, limits: QUICK_LIMITS, signal, confinement, descriptors };
    return (await runCommand(TOOL, args, options)).stdout;
  });
  return parseJson(infoSchema, stdout);
}

/**
 * Writes the guest's bytes of `source` into the existing, zero-reading `target` as raw, and makes them durable where the target is a file:
 * qemu-img's default cache mode drops every flush. It runs confined where the target is a file; owner and mode of both files stay.
 * @throws NoSpace, ToolFailed; the signal's reason when aborted. The writer is reaped in every case.
 */
export async function convertToRaw(request: ConvertRequest): Promise<void> {
  const { source, target, signal, onProgress } = request;
  const guard = request.guard ?? (await getDefaultToolGuard());
  const options: CommandOptions = {
    timeoutMs: guard.timeoutMs,
    limits: { ...guard.limits, ...(target.path === undefined ? {} : { fileSizeBytes: target.virtualBytes }) },
    signal,
    maxOutputBytes: MAX_PROGRESS_BYTES,
    onOutput: onProgress && ((chunk) => parseProgress(chunk).forEach(onProgress)),
  };
  try {
    if (target.path === undefined) await convert(source, { target: target.qemuTarget, options });
    else await convertConfined(source, target.path, { options, guard });
  } catch (error) {
    throw isOutOfSpace(error) ? await noSpace(request, error) : error;
  }
}

export interface OverlayConversion {
  /** A qcow2 and the raw file that it is an overlay of; both stay as they are. */
  overlay: string;
  parent: string;
  /** An empty qcow2 without a parent, of the overlay's virtual size. */
  target: { path: string; virtualBytes: number };
  backend: string;
  bytesPerSecond?: number;
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/**
 * Writes what a guest sees of an overlay into a qcow2 of its own, and makes it durable. The files are named here, whatever the overlay's header says. It
 * keeps this process' user: a parent's mode is part of its seal and cannot be lent to another.
 * @throws NoSpace, ToolFailed; the signal's reason when aborted. The writer is reaped in every case.
 */
export async function convertOverlay(request: OverlayConversion): Promise<void> {
  const { overlay, parent, target, bytesPerSecond, signal, onProgress } = request;
  const { confinement, limits, timeoutMs } = await getOwnUserGuard();
  const files = [{ path: overlay }, { path: parent }, { path: target.path, writable: true }];
  try {
    await withHandedOver(files, undefined, async ({ descriptors, names: [from = '', below = '', to = ''] }) => {
      const source = `driver=qcow2,file.driver=file,file.filename=${from},backing.driver=raw,backing.file.driver=file,backing.file.filename=${below}`;
      const pace = bytesPerSecond === undefined ? [] : ['-r', String(bytesPerSecond)];
      await runCommand(TOOL, [...CONVERT, ...pace, '--image-opts', '-O', 'qcow2', source, toFilename(to)], {
        timeoutMs,
        limits: { ...limits, fileSizeBytes: mostQcow2Bytes(target.virtualBytes) },
        signal,
        maxOutputBytes: MAX_PROGRESS_BYTES,
        onOutput: onProgress && ((chunk) => parseProgress(chunk).forEach(onProgress)),
        confinement,
        descriptors,
      });
    });
    await syncPath(target.path);
  } catch (error) {
    throw isOutOfSpace(error) ? await noSpace(request, error) : error;
  }
}

/** Without another user: the mode of a sealed file cannot be lent to one. */
async function getOwnUserGuard(): Promise<ToolGuard> {
  return await (ownUserGuard ??= createToolGuard({ ...defaultToolSettings, userId: undefined }));
}
let ownUserGuard: Promise<ToolGuard> | undefined;

export interface FileCopy {
  source: string;
  /** A hole of the source's size. */
  target: { path: string; bytes: number };
  backend: string;
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/**
 * Copies a file as it is, holes left out, and makes the copy durable, while QEMU's image locks let nobody open it for writing.
 * @throws NoSpace, ToolFailed, for which `isLockRefused` tells that somebody may write; the signal's reason when aborted.
 */
export async function copyFileData({ source, target: { path, bytes }, ...options }: FileCopy): Promise<void> {
  const target = { path, qemuTarget: toFilename(path), virtualBytes: bytes };
  await convertToRaw({ source: { path: source, format: 'raw' }, target, guard: await getOwnUserGuard(), ...options });
}

/** A raw file, or a qcow2 and the raw file that it is an overlay of. */
export interface QemuDisk {
  path: string;
  format: 'raw' | 'qcow2';
  parent?: string;
}

/**
 * Makes a qcow2 larger that nobody has open. @throws ToolFailed, for which `isLockRefused` tells that somebody has; the
 * file system's error.
 */
export async function growQcow2({ path, parent }: QemuDisk, virtualBytes: number): Promise<void> {
  await withDisk({ path, format: 'qcow2', parent, writable: true }, async (image, options) => {
    await runCommand(TOOL, ['resize', '-q', '--image-opts', image, String(virtualBytes)], options);
  });
}

/** Bytes of a guest's disk that lie together in one of its files. */
export interface DataExtent {
  start: number;
  length: number;
  /** 0: in the file itself; 1: in its parent. */
  depth: number;
  /** In that file. */
  offset: number;
}
const extentsSchema = z.array(
  z.object({
    start: z.int(),
    length: z.int(),
    depth: z.int(),
    data: z.boolean(),
    offset: z.int().optional(),
  }),
);
/** Of a GiB in pieces of 4 KiB, the smallest that file systems have. */
const MAX_MAP_BYTES = 64 * MiB;

/** @returns where the data of a part of the disk lies, in its order; everything else reads as zeros. No data is read. @throws ToolFailed. */
export async function mapData(
  disk: QemuDisk,
  { offset, lengthBytes }: { offset: number; lengthBytes: number },
): Promise<DataExtent[]> {
  const range = ['--start-offset', String(offset), '--max-length', String(lengthBytes)];
  const stdout = await withDisk(disk, async (image, options) => {
    const args = ['map', '--output=json', ...range, '--image-opts', image];
    return (await runCommand(TOOL, args, { ...options, maxOutputBytes: MAX_MAP_BYTES })).stdout;
  });
  return parseJson(extentsSchema, stdout).flatMap(({ data, offset: at, ...extent }) => {
    if (!data) return [];
    if (at === undefined)
      throw new Failure('ToolFailed', { tool: TOOL, exit: 'exit 0', stderr: 'the disk has compressed clusters' });
    return [{ ...extent, offset: at }];
  });
}

/** Its files are named here, whatever its header says. */
async function withDisk<Result>(
  { path, format, parent, writable }: QemuDisk & { writable?: boolean },
  work: (imageOptions: string, options: CommandOptions) => Promise<Result>,
): Promise<Result> {
  const { confinement } = await getOwnUserGuard();
  const files = [{ path, writable }, ...(parent === undefined ? [] : [{ path: parent }])];
  return await withHandedOver(files, undefined, async ({ descriptors, names: [own = '', below] }) => {
    const backing =
      below === undefined ? '' : `,backing.driver=raw,backing.file.driver=file,backing.file.filename=${below}`;
    const image = `driver=${format},file.driver=file,file.filename=${own}${backing}`;
    return await work(image, { timeoutMs: MAP_TIMEOUT_MS, limits: MAP_LIMITS, confinement, descriptors });
  });
}
const MAP_TIMEOUT_MS = 120_000;
const MAP_LIMITS: CommandLimits = { cpuSeconds: 120, addressSpaceBytes: 4 * GiB, openFiles: 64 };

/** A qcow2 with all its clusters, its tables and refcounts. */
function mostQcow2Bytes(virtualBytes: number): number {
  return Math.ceil(virtualBytes * 1.01) + 64 * MiB;
}

async function convertConfined(
  source: QemuImage,
  path: string,
  { options, guard: { confinement } }: { options: CommandOptions; guard: ToolGuard },
): Promise<void> {
  const files = [{ path: source.path }, { path, writable: true }];
  await withHandedOver(files, confinement.userId, async ({ descriptors, names: [from = '', to = ''] }) => {
    const handed = { target: toFilename(to), options: { ...options, confinement, descriptors } };
    await convert({ ...source, path: from }, handed);
  });
  await syncPath(path);
}

/** @param source with the path by which qemu-img opens it. */
async function convert(
  source: QemuImage,
  { target, options }: { target: string; options: CommandOptions },
): Promise<void> {
  await runCommand(TOOL, [...CONVERT, '-O', 'raw', ...sourceArguments(source), target], options);
}

/** @returns the arguments that open the image in its format, whatever its bytes say. */
function sourceArguments({ path, format, sizeByFooter = false }: QemuImage): string[] {
  if (!sizeByFooter) return ['-f', format, toFilename(path)];
  const file = `file.driver=file,file.filename=${path.replaceAll(',', ',,')}`;
  return ['--image-opts', `driver=${format},force_size_calc=current_size,${file}`];
}

/**
 * @returns whether a QEMU process has the file open, for writing or reading: QEMU's image locks refuse an opener that shares nothing.
 *   `blkdebug` is the one driver that lets an opener say so; the image's own bytes are not looked at. @throws ToolFailed for every other refusal.
 */
export async function isOpenInQemu(path: string): Promise<boolean> {
  return await isShared(path, ['consistent-read', ...WRITING]);
}

/** @returns whether a QEMU process has the file open for writing. @throws ToolFailed. */
export async function isOpenForWriting(path: string): Promise<boolean> {
  return await isShared(path, WRITING);
}

type Permission = 'consistent-read' | 'write' | 'resize';
const WRITING: readonly Permission[] = ['write', 'resize'];

async function isShared(path: string, permissions: readonly Permission[]): Promise<boolean> {
  const args = ['info', '--output=json', withoutSharing(path, permissions)];
  try {
    await runCommand(TOOL, args, { timeoutMs: QUICK_TIMEOUT_MS, limits: QUICK_LIMITS });
    return false;
  } catch (error) {
    if (isLockRefused(error)) return true;
    throw error;
  }
}

/** @returns whether QEMU's image locks kept the tool out: somebody has the image open. */
export function isLockRefused(error: unknown): boolean {
  return isFailure(error, 'ToolFailed') && /Failed to get .* lock/.test(error.details.stderr);
}

/** Work under a lock takes milliseconds; a disk that hangs does not keep guests out for ever. */
const LOCK_TIMEOUT_MS = 120_000;

/**
 * Runs `work` while nobody can open the image for writing: QEMU's image locks belong to open files, so a `qemu-io` that has it open holds them.
 * Readers, and further holders, are not kept out. @throws ToolFailed, for which `isLockRefused` tells that somebody may write; what `work` throws.
 */
export async function withoutWriters<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  const opened = new AbortController();
  let release: () => void = () => undefined;
  const holding = runCommand('qemu-io', ['-r', withoutSharing(path, WRITING)], {
    timeoutMs: LOCK_TIMEOUT_MS,
    limits: QUICK_LIMITS,
    onStarted: (stdin) => {
      release = () => stdin.end();
      // It reads commands when the image is open, and answers this one.
      stdin.write('length\n');
    },
    onOutput: () => opened.abort(),
  });
  const ended = holding.then(
    () => new Error('qemu-io has ended'),
    (error: unknown) => error,
  );
  const failure = await Promise.race([ended, once(opened.signal, 'abort').then(() => undefined)]);
  if (failure !== undefined) throw failure;
  try {
    return await work();
  } finally {
    release();
    await ended;
  }
}

/** `file` with permissions that other openers may not have, below a driver that looks at no byte. */
function withoutSharing(path: string, permissions: readonly Permission[]): string {
  const image = { driver: 'file', filename: path };
  return `json:${JSON.stringify({ driver: 'blkdebug', 'unshare-child-perms': permissions, image })}`;
}

/** A plain path could be read as a protocol (`nbd:…`, `json:…`); after `file:` everything is a path. */
export function toFilename(path: string): string {
  if (!isAbsolute(path)) throw new Error(`qemu-img gets absolute paths only, not ${path}`);
  return `file:${path}`;
}

/** qemu-img writes `    (12.50/100%)\r`. */
function parseProgress(chunk: string): number[] {
  return [...chunk.matchAll(/\((\d+\.\d+)\/100%\)/g)].map((match) => Number(match[1]) / 100);
}

function parseJson<Output>(schema: z.ZodType<Output>, stdout: CommandResult['stdout']): Output {
  try {
    return schema.parse(JSON.parse(stdout));
  } catch (cause) {
    throw new Failure(
      'ToolFailed',
      { tool: TOOL, exit: 'exit 0', stderr: 'its JSON has another shape than expected' },
      { cause },
    );
  }
}

function isOutOfSpace(error: unknown): boolean {
  if (isFailure(error, 'ToolFailed')) return /No space left on device|Disk quota exceeded/.test(error.details.stderr);
  return isDiskFull(error);
}

async function noSpace(
  { backend, target }: { backend: string; target: { path?: string; virtualBytes: number } },
  cause: unknown,
): Promise<Failure<'NoSpace'>> {
  const freeBytes = target.path === undefined ? 0 : await freeBytesOrZero(dirname(target.path));
  return new Failure('NoSpace', { backend, neededBytes: target.virtualBytes, freeBytes }, { cause });
}
