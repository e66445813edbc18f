import { setMaxListeners } from 'node:events';
import type { Readable } from 'node:stream';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { isFailure } from '../../../workflows/contract/failures';
import { LONGEST_TIMER_MS } from '../../../lib/abort';
import { unlessAbsent } from '../../../lib/errno';
import { findTool, isDeadline, runCommand, type CommandResult } from '../../command';
import { CephError, isCephError, isClosed } from './ceph-error';
import {
  deadlinesOf,
  monitorsOf,
  operationsAtOnce,
  TRASH_OBJECT,
  usableSpace,
  type RbdCluster,
  type RbdImage,
  type RbdPool,
} from './cluster';

/** A name that was reserved and not filled for so long was left by a killed process. */
const UNFILLED_MS = 2000;
/** `rbd` ends with the errno, `rados` says it: `(2) No such file or directory`; `ceph` may say `[errno 13]`. */
const errnoPattern = /\((\d+)\)|\[errno (\d+)\]/;
const FEATURES = 'layering,exclusive-lock,object-map,fast-diff,deep-flatten';
/** A process start beside the cluster's own deadline, and the retries of the tools. */
const DEADLINE_FACTOR = 4;
const answers = Array.from({ length: 256 }, (_none, code) => code);

const infoSchema = z.object({
  size: z.int(),
  features: z.array(z.string()).default([]),
  modify_timestamp: z.string(),
  parent: z
    .object({
      pool: z.string(),
      pool_namespace: z.string().default(''),
      image: z.string(),
      id: z.string().default(''),
      snapshot: z.string(),
      trash: z.boolean().default(false),
    })
    .optional(),
});
const namesSchema = z.array(z.object({ name: z.string() }));
const trashSchema = z.array(z.object({ id: z.string(), name: z.string() }));
/** As `ctime` writes it, without a time zone: tools have UTC. */
const deletionsSchema = z.array(z.object({ id: z.string(), deleted_at: z.string() }));
const monitorsSchema = z.object({
  fsid: z.string(),
  mons: z.array(
    z.object({ public_addrs: z.object({ addrvec: z.array(z.object({ type: z.string(), addr: z.string() })) }) }),
  ),
});
const dfSchema = z.object({
  pools: z.array(z.object({ name: z.string(), stats: z.object({ stored: z.number(), max_avail: z.number() }) })),
});
const quotaSchema = z.object({ quota_max_bytes: z.number() });

/** @returns whether the tools are installed that `openToolCluster` starts. */
export function hasRbdTools(): boolean {
  return ['rbd', 'rados', 'ceph'].every((tool) => findTool(tool) !== undefined);
}

/** The tools of `ceph-common`, each step a process: where librbd cannot be loaded. */
export function openToolCluster(pool: RbdPool): RbdCluster {
  const { operationTimeoutMs } = pool;
  const closing = new AbortController();
  // Every call listens to it.
  setMaxListeners(0, closing.signal);
  const access = [
    '--conf',
    pool.conf,
    '--id',
    pool.user,
    ...(pool.keyring === undefined ? [] : ['--keyring', pool.keyring]),
    ...Object.entries(deadlinesOf(pool)).map(([option, value]) => `--${option.replaceAll('_', '-')}=${value}`),
  ];
  const place = pool.namespace === undefined ? pool.pool : `${pool.pool}/${pool.namespace}`;
  const specOf = (image: string, snapshot?: string): string =>
    `${place}/${image}${snapshot === undefined ? '' : `@${snapshot}`}`;
  const inPlace = ['--pool', pool.pool, ...(pool.namespace === undefined ? [] : ['--namespace', pool.namespace])];
  const inRados = ['-p', pool.pool, ...(pool.namespace === undefined ? [] : ['-N', pool.namespace])];

  const run = async (
    tool: 'rbd' | 'rados' | 'ceph',
    args: string[],
    { signal, ...options }: Partial<Parameters<typeof runCommand>[2]> = {},
  ): Promise<string> => {
    const command = `${tool} ${args.find((arg) => !arg.startsWith('-')) ?? ''}`;
    let result: CommandResult;
    try {
      result = await runCommand(tool, [...access, ...args], {
        timeoutMs: DEADLINE_FACTOR * operationTimeoutMs,
        answers,
        signal: signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal]),
        ...options,
      });
    } catch (error) {
      throw isDeadline(error) ? new CephError(command, constants.errno.ETIMEDOUT) : error;
    }
    const { exitCode, stdout, stderr } = result;
    if (exitCode === 0) return stdout;
    if (exitCode !== 1) throw new CephError(command, exitCode);
    const [, said, saidByCeph] = errnoPattern.exec(stderr) ?? [];
    throw new CephError(command, Number(said ?? saidByCeph ?? constants.errno.EIO));
  };
  const ask = async <Output>(schema: z.ZodType<Output>, tool: 'rbd' | 'ceph', args: string[]): Promise<Output> => {
    const answer = (): Promise<string> => run(tool, [...args, '--format', 'json']);
    const text = await answer().catch((error: unknown) => {
      if (isCrash(error)) return answer();
      throw error;
    });
    return schema.parse(JSON.parse(text || '[]'));
  };
  const rbd = async (...args: string[]): Promise<void> => void (await run('rbd', args));
  const snapshotsOf = async (name: string): Promise<string[]> =>
    (await ask(namesSchema, 'rbd', ['snap', 'ls', specOf(name)])).map((snapshot) => snapshot.name);
  const complete = async (name: string, sizeBytes: number, metadata: Record<string, string>): Promise<void> => {
    const { size } = await ask(infoSchema, 'rbd', ['info', specOf(name)]);
    if (size < sizeBytes) await rbd('resize', specOf(name), '--size', `${sizeBytes}B`, '--no-progress');
    for (const [key, value] of Object.entries(metadata)) await rbd('image-meta', 'set', specOf(name), key, value);
  };
  /** See `agent/removal.ts`. */
  const removeOne = async (snapshot: string): Promise<void> => {
    try {
      await rbd('snap', 'rm', snapshot, '--no-progress');
    } catch (error) {
      if (!isCephError(error, 'busy')) throw error;
      await rbd('snap', 'unprotect', snapshot);
      await rbd('snap', 'rm', snapshot, '--no-progress');
    }
  };
  const remove = async (name: string): Promise<void> => {
    try {
      await rbd('rm', specOf(name), '--no-progress');
    } catch (error) {
      if (!isCephError(error, 'not-empty')) throw error;
      for (const snapshot of await snapshotsOf(name)) await removeOne(specOf(name, snapshot));
      await rbd('rm', specOf(name), '--no-progress');
    }
  };
  /** See `agent.ts`: the tool says what the library says. */
  const checkRemoved = async (name: string): Promise<void> => {
    if ((await unlessAbsent(describe(name, []))) !== undefined)
      throw new CephError('rbd rm', constants.errno.ETIMEDOUT);
  };
  const removeFromTrash = async (id: string): Promise<void> => {
    const removeIt = ['trash', 'rm', `${place}/${id}`, '--force', '--no-progress'];
    try {
      await rbd(...removeIt);
    } catch (error) {
      if (!isCephError(error, 'not-empty')) throw error;
      const inTrash = [...inPlace, '--image-id', id];
      const schema = z.array(z.object({ name: z.string(), protected: z.string() }));
      for (const snapshot of await ask(schema, 'rbd', ['snap', 'ls', ...inTrash]))
        if (snapshot.protected === 'true') await rbd('snap', 'unprotect', ...inTrash, '--snap', snapshot.name);
      await rbd('snap', 'purge', ...inTrash, '--no-progress');
      await rbd(...removeIt);
    }
  };
  const readObject = async (name: string): Promise<Buffer | undefined> => {
    const text = await unlessAbsent(run('rados', ['get', name, '-', ...inRados]));
    return text === undefined || text === '' ? undefined : Buffer.from(text);
  };

  /** As `library.ts` does: objects can be written into a namespace that nobody has made. */
  const checkNamespace = async (): Promise<void> => {
    if (pool.namespace === undefined) return;
    const made = await ask(namesSchema, 'rbd', ['namespace', 'ls', pool.pool]).catch((error: unknown) => {
      if (isCephError(error, 'forbidden')) return undefined;
      throw error;
    });
    if (made?.every(({ name }) => name !== pool.namespace))
      throw new CephError('rbd namespace', constants.errno.ENOENT);
  };

  return {
    access: 'tool',
    async identify() {
      const { fsid, mons } = await ask(monitorsSchema, 'ceph', ['mon', 'dump']);
      await checkNamespace();
      return { fsid, monitors: monitorsOf(mons.map(({ public_addrs }) => public_addrs.addrvec)) };
    },
    async space() {
      const { pools } = await ask(dfSchema, 'ceph', ['df']);
      const found = pools.find(({ name }) => name === pool.pool);
      if (found === undefined) throw new CephError('ceph df', constants.errno.ENOENT);
      const { quota_max_bytes: quota } = await ask(quotaSchema, 'ceph', ['osd', 'pool', 'get-quota', pool.pool]);
      return usableSpace({ storedBytes: found.stats.stored, availableBytes: found.stats.max_avail, quotaBytes: quota });
    },
    readObject,
    async objectWrittenAt(name) {
      const text = await unlessAbsent(run('rados', ['stat', name, ...inRados]));
      const time = text === undefined ? undefined : / mtime (.+), size /.exec(text)?.[1];
      return time === undefined ? undefined : new Date(time);
    },
    async createObject(name, bytes) {
      const put = async (): Promise<boolean> => {
        await run('rados', ['put', name, '-', ...inRados], { onStarted: (stdin) => void stdin.end(bytes) });
        return true;
      };
      try {
        await run('rados', ['create', name, ...inRados]);
        return await put();
      } catch (error) {
        if (!isCephError(error, 'exists')) throw error;
        if ((await readObject(name)) !== undefined) return false;
        await delay(UNFILLED_MS);
        return (await readObject(name)) === undefined ? await put() : false;
      }
    },
    removeObject: async (name) => void (await unlessAbsent(run('rados', ['rm', name, ...inRados]))),
    async ensureTrash() {
      try {
        await run('rados', ['create', TRASH_OBJECT, ...inRados]);
      } catch (error) {
        if (!isCephError(error, 'exists')) throw error;
      }
    },
    async listImages() {
      return await ask(z.array(z.string()), 'rbd', ['ls', place]);
    },
    async listTrash() {
      const list = ['trash', 'ls', '--all', place];
      // The long list leaves out what does not open.
      const deletions = await ask(deletionsSchema, 'rbd', [...list, '--long']);
      const deletedAt = new Map(deletions.map(({ id, deleted_at }) => [id, new Date(`${deleted_at} UTC`)]));
      const found = await ask(trashSchema, 'rbd', list);
      return found.map(({ id, name }) => ({ id, name, deletedAt: deletedAt.get(id) ?? new Date(0) }));
    },
    async describeImage(name, metadataKeys) {
      return await unlessAbsent(describe(name, metadataKeys));
    },
    async usedBytes(name, snapshot) {
      const schema = z.object({ images: z.array(z.object({ used_size: z.int() })) });
      const { images } = await ask(schema, 'rbd', ['du', specOf(name, snapshot)]);
      return images.reduce((sum, { used_size }) => sum + used_size, 0);
    },
    async countChildren(name, snapshot) {
      return (await ask(z.array(z.unknown()), 'rbd', ['children', '--all', specOf(name, snapshot)])).length;
    },
    async listWatchers(name) {
      const schema = z.object({ watchers: z.array(z.object({ address: z.string() })) });
      const { watchers } = await ask(schema, 'rbd', ['status', specOf(name)]);
      return watchers.map(({ address }) => ({ address, own: false }));
    },
    async countAncestors(name) {
      let count = 0;
      let { parent } = await ask(infoSchema, 'rbd', ['info', specOf(name)]);
      for (; parent !== undefined; count += 1) {
        // By its id, since it may be in the trash.
        const inPool = ['--pool', parent.pool, '--namespace', parent.pool_namespace, '--image-id', parent.id];
        ({ parent } = await ask(infoSchema, 'rbd', ['info', ...inPool]));
      }
      return count;
    },
    createImage: (name, sizeBytes) =>
      rbd('create', specOf(name), '--size', `${sizeBytes}B`, '--image-format', '2', '--image-feature', FEATURES),
    async cloneImage(parent, { name, sizeBytes, metadata }) {
      const own = specOf(parent.image, parent.snapshot);
      const elsewhere = [parent.pool, parent.namespace].filter((part) => part !== undefined).join('/');
      const source = parent.pool === undefined ? own : `${elsewhere}/${parent.image}@${parent.snapshot}`;
      await rbd('clone', '--rbd-default-clone-format', '2', '--image-feature', FEATURES, source, specOf(name));
      await complete(name, sizeBytes, metadata);
    },
    completeImage: (name, { sizeBytes, metadata }) => complete(name, sizeBytes, metadata),
    async removeMetadata(name, keys) {
      for (const key of keys) await unlessAbsent(rbd('image-meta', 'rm', specOf(name), key));
    },
    shrinkImage: (name, sizeBytes) =>
      rbd('resize', specOf(name), '--size', `${sizeBytes}B`, '--allow-shrink', '--no-progress'),
    createSnapshot: (name, snapshot) => rbd('snap', 'create', specOf(name, snapshot), '--no-progress'),
    async snapshotVolume(name, snapshot, metadata) {
      for (const [key, value] of Object.entries(metadata)) await rbd('image-meta', 'set', specOf(name), key, value);
      await rbd('snap', 'create', specOf(name, snapshot), '--no-progress');
    },
    async removeSnapshot(name, snapshot, metadataKey) {
      await unlessAbsent(removeOne(specOf(name, snapshot)));
      if (metadataKey !== undefined) await unlessAbsent(rbd('image-meta', 'rm', specOf(name), metadataKey));
    },
    moveToTrash: (name) => rbd('trash', 'mv', specOf(name)),
    hasClones: async (trashId) => {
      const schema = z.array(z.object({ namespace: z.object({ type: z.string() }) }));
      const found = await ask(schema, 'rbd', ['snap', 'ls', '--all', ...inPlace, '--image-id', trashId]);
      return found.some(({ namespace }) => namespace.type === 'trash');
    },
    renameImage: (from, to) => rbd('rename', specOf(from), specOf(to)),
    async removeImage(name) {
      try {
        await remove(name);
      } catch (error) {
        if (isCephError(error, 'absent')) return await checkRemoved(name);
        if (!isCephError(error, 'busy')) throw error;
        await rbd('trash', 'mv', specOf(name));
      }
    },
    async removeFromTrash(id) {
      try {
        await removeFromTrash(id);
        return true;
      } catch (error) {
        if (isCephError(error, 'absent')) return true;
        if (isCephError(error, 'busy', 'not-empty')) return false;
        throw error;
      }
    },
    async flatten(name, { signal, bytesPerSecond }) {
      const pace = `--rbd-concurrent-management-ops=${operationsAtOnce(bytesPerSecond)}`;
      const options = { signal, timeoutMs: LONGEST_TIMER_MS };
      const { features } = await ask(infoSchema, 'rbd', ['info', specOf(name)]);
      const maps = ['fast-diff', 'object-map'].filter((feature) => features.includes(feature));
      if (maps.length > 0) await rbd('feature', 'disable', specOf(name), ...maps);
      await run('rbd', [pace, 'flatten', specOf(name), '--no-progress'], options);
      if (maps.length === 0) return;
      await rbd('feature', 'enable', specOf(name), ...maps);
      await run('rbd', [pace, 'object-map', 'rebuild', specOf(name), '--no-progress'], options);
    },
    async read(name, { snapshot, lengthBytes = Number.MAX_SAFE_INTEGER, signal, consume }) {
      let left = lengthBytes;
      const enough = new Error('all that was asked for has come');
      const take = async (stdout: Readable): Promise<void> => {
        for await (const chunk of stdout as AsyncIterable<Buffer>) {
          await consume(chunk.subarray(0, left));
          left -= chunk.length;
          if (left <= 0) throw enough;
        }
      };
      try {
        const options = { signal, consume: take, timeoutMs: LONGEST_TIMER_MS };
        await run('rbd', ['export', '--no-progress', specOf(name, snapshot), '-'], options);
      } catch (error) {
        if (error !== enough) throw error;
      }
    },
    close: () => {
      closing.abort(isClosed());
      return Promise.resolve();
    },
  };

  async function describe(name: string, metadataKeys: readonly string[]): Promise<RbdImage> {
    const { size, modify_timestamp, parent } = await ask(infoSchema, 'rbd', ['info', specOf(name)]);
    const all =
      metadataKeys.length === 0
        ? {}
        : await ask(z.union([z.record(z.string(), z.string()), z.tuple([]).transform(() => ({}))]), 'rbd', [
            'image-meta',
            'ls',
            specOf(name),
          ]);
    return {
      sizeBytes: size,
      modifiedAt: new Date(modify_timestamp),
      snapshots: await snapshotsOf(name),
      metadata: Object.fromEntries(metadataKeys.map((key) => [key, all[key]])),
      ...(parent !== undefined && {
        parent: {
          pool: parent.pool,
          namespace: parent.pool_namespace,
          image: parent.image,
          snapshot: parent.snapshot,
          inTrash: parent.trash,
        },
      }),
    };
  }
}

/** Ceph's tools crash now and then as their threads end: a command that only reads is run once more. */
function isCrash(error: unknown): boolean {
  return isFailure(error, 'ToolFailed') && ['signal SIGABRT', 'signal SIGSEGV'].includes(error.details.exit);
}
