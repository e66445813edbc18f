import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, open, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MiB } from '../../workflows/contract/bytes';

/** One empty workflow, started and awaited by this client as a create is. */
export async function runEmptyWorkflow(client: Client, taskQueue: string): Promise<void> {
  await client.workflow.execute('Empty', { workflowId: `empty/${randomUUID()}`, taskQueue });
}

/** A clone as a person makes it, durable as ours is: reflink or overlay, then fsync of the file and of its directory. */
export async function cloneBare(
  method: 'reflink' | 'overlay',
  { parent, directory }: { parent: string; directory: string },
): Promise<void> {
  const path = join(directory, `${randomUUID()}.bare`);
  if (method === 'reflink') await copyFile(parent, path, constants.COPYFILE_FICLONE_FORCE);
  else await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', parent, path]);
  await sync(path);
  await sync(directory);
}

/**
 * A cold miss as a person makes it: `curl -o`, `qemu-img convert` with our options, fsync. What is made stays, as a volume does: memory that a removal
 * has just given back is written faster than any other, which would flatter the next run.
 */
export async function convertBare(
  url: string,
  { directory, virtualBytes, format }: { directory: string; virtualBytes: number; format: string },
): Promise<{ readMs: number; writeMs: number; hashMs: number }> {
  const startedAtMs = performance.now();
  const work = join(directory, `bare-${randomUUID()}`);
  await mkdir(work);
  const [image, target] = [join(work, 'image'), join(work, 'target.raw')];
  await run('curl', ['-sf', '-o', image, url]);
  const readAtMs = performance.now();
  await (await open(target, 'wx')).close();
  await truncate(target, virtualBytes);
  await run('qemu-img', [
    'convert',
    '-n',
    '-W',
    '-m',
    '16',
    '--target-is-zero',
    '-f',
    format,
    '-O',
    'raw',
    image,
    target,
  ]);
  await sync(target);
  await sync(work);
  const writtenAtMs = performance.now();
  const hashMs = await hashBare(image);
  await rm(image);
  return { readMs: readAtMs - startedAtMs, writeMs: writtenAtMs - readAtMs, hashMs };
}

/** What it takes to verify the first bytes of a file, as long as nothing else runs. @returns milliseconds. */
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
