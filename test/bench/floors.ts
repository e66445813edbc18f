import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, open, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { RbdCluster, RbdPool } from '../../activities/backends/rbd/cluster';
import { createNames, SEAL } from '../../activities/backends/rbd/names';
import { MiB } from '../../workflows/contract/bytes';

/** One empty workflow, started and awaited by this client as a create is. */
export async function runEmptyWorkflow(client: Client, taskQueue: string): Promise<void> {
  await client.workflow.execute('Empty', { workflowId: `empty/${randomUUID()}`, taskQueue });
}

/** A backend's place as bare tools use it, beside the product in the same run. */
export interface BareStorage {
  /** `file/reflink`, `file/overlay` or `rbd`. */
  backend: string;
  /** The ways of making so many clones at once; the first is the plain one. */
  cloneWays(inFlight: number): CloneWay[];
  /** An empty target for `qemu-img convert -n`. `finish` makes it durable. */
  makeTarget(virtualBytes: number): Promise<{ filename: string; finish(): Promise<void> }>;
  /** Where there is a map of the cluster that all its clients follow: how often it has changed. */
  countMapChanges?(this: void): Promise<number>;
}

interface CloneWay {
  /** As the floor of a hit names it. */
  what: string;
  /** A clone as a person makes it, durable as ours is. */
  clone(this: void, imageVolume: string): Promise<void>;
}

/** Reflinks or overlays, then fsync of the file and of its directory. */
export async function bareFiles(method: 'reflink' | 'overlay', volumesDirectory: string): Promise<BareStorage> {
  const directory = join(volumesDirectory, 'bare');
  await mkdir(directory, { recursive: true });
  const clone = async (imageVolume: string): Promise<void> => {
    const parent = join(volumesDirectory, 'images', `${imageVolume}.raw`);
    const path = join(directory, `${randomUUID()}.bare`);
    if (method === 'reflink') await copyFile(parent, path, constants.COPYFILE_FICLONE_FORCE);
    else await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', parent, path]);
    await sync(path);
    await sync(directory);
  };
  return {
    backend: `file/${method}`,
    cloneWays: () => [{ what: method, clone }],
    async makeTarget(virtualBytes) {
      const filename = join(directory, `${randomUUID()}.raw`);
      await (await open(filename, 'wx')).close();
      await truncate(filename, virtualBytes);
      const finish = async (): Promise<void> => {
        await sync(filename);
        await sync(directory);
      };
      return { filename, finish };
    },
  };
}

/** librbd without a marker and without growing. @param connections one each, to the same pool. */
export function barePool(
  connections: RbdCluster[],
  { pool, user, conf }: Pick<RbdPool, 'pool' | 'user' | 'conf'>,
  countMapChanges: () => Promise<number>,
): BareStorage {
  const { imageOf } = createNames(rbdNames);
  const wayOn = (clusters: RbdCluster[]): CloneWay => {
    let clones = 0;
    return {
      what: `librbd clone, ${clusters.length === 1 ? 'one connection' : `${clusters.length} connections`}`,
      clone: async (imageVolume) => {
        const cluster = clusters[clones++ % clusters.length];
        const parent = { image: imageOf(imageVolume), snapshot: SEAL };
        await cluster?.cloneImage(parent, { name: `bare-${randomUUID()}`, sizeBytes: 0, metadata: {} });
      },
    };
  };
  return {
    backend: 'rbd',
    cloneWays: (inFlight) =>
      [1, Math.min(inFlight, connections.length)]
        .filter((count, index, counts) => counts.indexOf(count) === index)
        .map((count) => wayOn(connections.slice(0, count))),
    async makeTarget(virtualBytes) {
      const image = `bare-${randomUUID()}`;
      await connections[0]?.createImage(image, virtualBytes);
      return { filename: `rbd:${pool}/${image}:id=${user}:conf=${conf}`, finish: () => Promise.resolve() };
    },
    countMapChanges,
  };
}

/** As the configuration has them by default. */
const rbdNames = { volume: 'volume-{id}', image: 'image-{key}' };

/**
 * A cold miss as a person makes it: `curl -o`, `qemu-img convert` with our options, fsync. The result stays, as a volume does: memory that a removal
 * has just given back is written faster than any other, which would flatter the next run.
 */
export async function convertBare(
  url: string,
  storage: BareStorage,
  { directory, virtualBytes, format }: { directory: string; virtualBytes: number; format: string },
): Promise<{ readMs: number; writeMs: number; hashMs: number }> {
  const startedAtMs = performance.now();
  const image = join(directory, `bare-${randomUUID()}`);
  await run('curl', ['-sf', '-o', image, url]);
  const readAtMs = performance.now();
  const target = await storage.makeTarget(virtualBytes);
  const fast = ['-n', '-W', '-m', '16', '--target-is-zero'];
  await run('qemu-img', ['convert', ...fast, '-f', format, '-O', 'raw', image, target.filename]);
  await target.finish();
  const writtenAtMs = performance.now();
  const hashMs = await hashBare(image);
  await rm(image);
  return { readMs: readAtMs - startedAtMs, writeMs: writtenAtMs - readAtMs, hashMs };
}

/** Time to verify the first bytes of a file, as long as nothing else runs. @returns milliseconds. */
export async function hashBare(path: string, bytes = Infinity): Promise<number> {
  const startedAtMs = performance.now();
  const hash = createHash('sha512');
  for await (const chunk of createReadStream(path, { end: Math.floor(bytes) - 1, highWaterMark: 4 * MiB }))
    hash.update(chunk as Buffer);
  hash.digest();
  return performance.now() - startedAtMs;
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  await file.sync();
  await file.close();
}

async function run(tool: string, args: string[]): Promise<void> {
  const child = spawn(tool, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${tool} ended with ${code}`);
}
