import { fork, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { abortReason, LONGEST_TIMER_MS } from '../../../lib/abort';
import { MiB } from '../../../workflows/contract/bytes';
import type { Socket } from 'node:net';
import {
  PARCELS_FD,
  type AgentCall,
  type AgentCalls,
  type AgentReply,
  type AgentRequest,
  type Parcel,
} from './agent-protocol';
import type { GuestReader, HashOptions } from '../../image/guest-reader';
import type { GuestWriter } from '../../image/guest-writer';
import { dataRuns } from '../../image/sparse-write';
import { CephError, isCephError, isClosed } from './ceph-error';
import { operationsAtOnce, type ClusterIdentity, type RbdCluster, type RbdPool, type ReadOptions } from './cluster';
import { sendParcel } from './parcels';

const AGENT_THREADS = 32;
/** A visit may take so many deadlines of the cluster: it may be several calls. */
const VISITS_DEADLINE_FACTOR = 4;
/**
 * So many calls without one answer, and the next ones get a connection of their own. A connection of librados was seen to stay silent for minutes after
 * its OSD was back, from a call on that had timed out while the OSD was away; a new one was answered at once.
 */
const TIMEOUTS_OF_A_SILENT_CONNECTION = 3;
/** Calls that the monitor answers, or the agent itself: they say nothing of the way to the OSD. */
const withoutOsd: readonly AgentCall[] = ['space', 'countCalls', 'countOpenImages'];
/** Bytes that are read or written at once. */
const OBJECT_BYTES = 4 * MiB;

/** librados or librbd cannot be loaded here. */
export class LibraryMissing extends Error {}

interface Waiting {
  call: string;
  resolve(this: void, value: unknown): void;
  reject(this: void, error: Error): void;
  timer: NodeJS.Timeout;
}
interface Agent {
  child: ChildProcess;
  /** For parcels. */
  pipe: Socket;
  waiting: Map<number, Waiting>;
  identity: Promise<ClusterIdentity>;
  /** Calls that timed out since the OSD has answered one. */
  timeouts: number;
  /** Readers and writers with an image that is open in it. */
  holders: number;
}

/** One agent for several calls, as an open image is known to the agent that opened it alone. */
interface Hold {
  ask: Ask;
  release(this: void): void;
}

/** Beside the steps: how many images its agent has open, which is none between them, and what it has called. */
export type LibraryCluster = RbdCluster & Pick<AgentCalls, 'countOpenImages' | 'countCalls'>;

/**
 * librbd, in an agent process of its own with one connection to the cluster. It is started by the first call, and killed and started again when a call of
 * it hangs or its connection is of no more use. It ends with this process.
 */
export function openLibraryCluster(pool: RbdPool): LibraryCluster {
  const closing = new AbortController();
  const deadlineMs = VISITS_DEADLINE_FACTOR * pool.operationTimeoutMs;
  const { ask, hold, identify } = startingAgent(pool, { deadlineMs, closed: closing.signal });
  return {
    access: 'library',
    countCalls: () => ask('countCalls'),
    countOpenImages: () => ask('countOpenImages'),
    identify,
    space: () => ask('space'),
    readObject: async (name) => {
      const bytes = await ask('readObject', name);
      return bytes && Buffer.from(bytes);
    },
    objectWrittenAt: (name) => ask('objectWrittenAt', name),
    createObject: (name, bytes) => ask('createObject', name, bytes),
    removeObject: (name) => ask('removeObject', name),
    ensureTrash: () => ask('ensureTrash'),
    listImages: () => ask('listImages'),
    listTrash: () => ask('listTrash'),
    describeImage: (name, keys) => ask('describeImage', name, keys),
    usedBytes: (name, snapshot) => ask('usedBytes', name, snapshot),
    describeSnapshot: (snapshot) => ask('describeSnapshot', snapshot),
    countChildren: (name, snapshot) => ask('countChildren', name, snapshot),
    countAncestors: (name) => ask('countAncestors', name),
    listWatchers: (name) => ask('listWatchers', name),
    createImage: (name, sizeBytes) => ask('createImage', name, sizeBytes),
    cloneImage: (parent, clone) => ask('cloneImage', parent, clone),
    completeImage: (name, change) => ask('completeImage', name, change),
    removeMetadata: (name, keys) => ask('removeMetadata', name, keys),
    shrinkImage: (name, sizeBytes) => ask('shrinkImage', name, sizeBytes),
    createSnapshot: (name, snapshot) => ask('createSnapshot', name, snapshot),
    snapshotVolume: (name, snapshot, metadata) => ask('snapshotVolume', name, snapshot, metadata),
    removeSnapshot: (name, snapshot, metadataKey) => ask('removeSnapshot', name, snapshot, metadataKey),
    protectSnapshot: (name, snapshot) => ask('protectSnapshot', name, snapshot),
    unprotectSnapshot: (name, snapshot) => ask('unprotectSnapshot', name, snapshot),
    moveToTrash: (name) => ask('moveToTrash', name),
    hasClones: (trashId) => ask('hasClones', trashId),
    listExtents: (name, snapshot, range) => ask('listExtents', name, snapshot, range),
    renameImage: (from, to) => ask('renameImage', from, to),
    removeImage: (name) => ask('removeImage', name),
    removeFromTrash: (id) => ask('removeFromTrash', id),
    flatten: async (name, { signal, bytesPerSecond }) => {
      const paced = { ...pool, operationsAtOnce: operationsAtOnce(bytesPerSecond) };
      const own = {
        deadlineMs: LONGEST_TIMER_MS,
        closings: [closing.signal, ...(signal === undefined ? [] : [signal])],
      };
      await inAgentOfItsOwn(paced, own, (askOwn) => askOwn('flatten', name));
    },
    emptyImage: async (name, { sizeBytes, signal }) => {
      const own = {
        deadlineMs: LONGEST_TIMER_MS,
        closings: [closing.signal, ...(signal === undefined ? [] : [signal])],
      };
      await inAgentOfItsOwn(pool, own, (askOwn) => askOwn('emptyImage', name, sizeBytes));
    },
    // The bytes stay in that process, whose thread the hash keeps busy.
    hash: async (name, options) => {
      const own = { deadlineMs, closings: [closing.signal, options.signal] };
      return await inAgentOfItsOwn(pool, own, (askOwn) => hashThrough(askOwn, name, options));
    },
    read: async (name, options) => await readThrough(hold(), name, options),
    openReader: async (name, snapshot) => await readAnywhere(hold(), name, snapshot),
    openWriter: async (name) => await writeThrough(hold(), name),
    close: () => {
      closing.abort(isClosed());
      return Promise.resolve();
    },
  };
}

/** To end such work is to end its process, and nobody else's call. */
async function inAgentOfItsOwn<Result>(
  pool: Parameters<typeof startingAgent>[0],
  { deadlineMs, closings }: { deadlineMs: number; closings: AbortSignal[] },
  work: (ask: Ask) => Promise<Result>,
): Promise<Result> {
  const ended = new AbortController();
  const closed = AbortSignal.any([...closings, ended.signal]);
  try {
    return await work(startingAgent(pool, { deadlineMs, closed }).ask);
  } finally {
    ended.abort(isClosed());
  }
}

/** An agent that the first call starts; see `openLibraryCluster`. `closed`: it ends, what waits for it gets the reason, and no other is started. */
function startingAgent(
  pool: Parameters<AgentCalls['connect']>[0],
  { deadlineMs, closed }: { deadlineMs: number; closed: AbortSignal },
) {
  let current: Agent | undefined;
  /** The current one, and those that are silent and still have somebody who waits for them. */
  const agents = new Set<Agent>();
  let lastId = 0;
  let lastParcel = 0;

  const end = (agent: Agent, reason: Error): void => {
    if (current === agent) current = undefined;
    agents.delete(agent);
    agent.child.kill('SIGKILL');
    for (const { reject, timer } of agent.waiting.values()) {
      clearTimeout(timer);
      reject(reason);
    }
    agent.waiting.clear();
  };

  const endIfUnused = (agent: Agent): void => {
    if (agent !== current && agent.waiting.size === 0 && agent.holders === 0) end(agent, isClosed());
  };

  const send = async <Call extends AgentCall>(
    agent: Agent,
    call: Call,
    args: Parameters<AgentCalls[Call]>,
  ): Promise<Awaited<ReturnType<AgentCalls[Call]>>> => {
    if (!agents.has(agent)) throw new CephError('agent', constants.errno.ETIMEDOUT);
    const id = (lastId += 1);
    return await new Promise<Awaited<ReturnType<AgentCalls[Call]>>>((resolve, reject) => {
      const timer = setTimeout(() => end(agent, new CephError(call, constants.errno.ETIMEDOUT)), deadlineMs);
      agent.waiting.set(id, { call, resolve, reject, timer });
      agent.child.send({ id, call, args: args.map((arg) => asParcel(agent, arg)) } satisfies AgentRequest);
    });
  };

  const asParcel = ({ pipe }: Agent, arg: unknown): unknown => {
    if (!Buffer.isBuffer(arg)) return arg;
    const parcel = (lastParcel = (lastParcel + 1) % 2 ** 32);
    sendParcel(pipe, parcel, arg);
    return { parcel } satisfies Parcel;
  };

  const start = (): Agent => {
    const child = fork(agentPath(), {
      serialization: 'advanced',
      env: { PATH: process.env['PATH'], LC_ALL: 'C', UV_THREADPOOL_SIZE: String(AGENT_THREADS) },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc', 'pipe'],
    });
    const pipe = child.stdio[PARCELS_FD] as Socket;
    const agent: Agent = {
      child,
      pipe,
      waiting: new Map(),
      identity: Promise.resolve({ fsid: '', monitors: [] }),
      timeouts: 0,
      holders: 0,
    };
    agents.add(agent);
    child.on('message', (reply: AgentReply) => {
      if ('missing' in reply) return end(agent, new LibraryMissing(reply.missing));
      const waiting = agent.waiting.get(reply.id);
      if (waiting === undefined) return;
      agent.waiting.delete(reply.id);
      clearTimeout(waiting.timer);
      if ('value' in reply) waiting.resolve(reply.value);
      else if ('bug' in reply) waiting.reject(new Error(reply.bug));
      else waiting.reject(new CephError(reply.ceph.call, reply.ceph.errno));
    });
    const onEnd = (): void => end(agent, new CephError('agent', constants.errno.ETIMEDOUT));
    child.on('exit', onEnd).on('error', onEnd);
    pipe.on('error', onEnd);
    // It keeps nobody from ending: it sees that its parent is gone.
    child.unref();
    child.channel?.unref();
    pipe.unref();
    agent.identity = send(agent, 'connect', [pool]);
    agent.identity.catch((error: Error) => end(agent, error));
    return agent;
  };

  const askThrough =
    (agentOf: () => Agent) =>
    async <Call extends AgentCall>(
      call: Call,
      ...args: Parameters<AgentCalls[Call]>
    ): Promise<Awaited<ReturnType<AgentCalls[Call]>>> => {
      const agent = agentOf();
      await agent.identity;
      try {
        const answer = await send(agent, call, args);
        if (!withoutOsd.includes(call)) agent.timeouts = 0;
        return answer;
      } catch (error) {
        // A client that was blocklisted never gets well again: the next call connects anew.
        if (isCephError(error, 'disconnected')) end(agent, error as Error);
        else if (!isCephError(error, 'in-doubt')) agent.timeouts = 0;
        else if ((agent.timeouts += 1) >= TIMEOUTS_OF_A_SILENT_CONNECTION && current === agent) current = undefined;
        throw error;
      } finally {
        endIfUnused(agent);
      }
    };

  const getAgent = (): Agent => {
    closed.throwIfAborted();
    return (current ??= start());
  };
  const ask = askThrough(getAgent);

  const hold = (): Hold => {
    const agent = getAgent();
    agent.holders += 1;
    return {
      ask: askThrough(() => agent),
      release: () => {
        agent.holders -= 1;
        endIfUnused(agent);
      },
    };
  };

  const endAll = (): void => {
    for (const agent of agents) end(agent, abortReason(closed));
  };
  closed.addEventListener('abort', endAll, { once: true });

  return { ask, hold, identify: async () => await getAgent().identity };
}

/** The compiled file, wherever this one runs from: a test may have this module as TypeScript. */
function agentPath(): string {
  const beside = join(__dirname, 'agent.js');
  return existsSync(beside) ? beside : join(__dirname, '../../../dist/activities/backends/rbd/agent.js');
}

type Ask = <Call extends AgentCall>(
  call: Call,
  ...args: Parameters<AgentCalls[Call]>
) => Promise<Awaited<ReturnType<AgentCalls[Call]>>>;

async function readThrough(
  hold: Hold,
  name: string,
  { snapshot, lengthBytes, signal, consume }: ReadOptions,
): Promise<void> {
  const { image, sizeBytes, close } = await openIn(hold, name, { snapshot, writable: false });
  try {
    const end = Math.min(sizeBytes, lengthBytes ?? sizeBytes);
    for (let offset = 0; offset < end; offset += OBJECT_BYTES) {
      signal?.throwIfAborted();
      await consume(Buffer.from(await hold.ask('readAt', image, offset, Math.min(OBJECT_BYTES, end - offset))));
    }
  } finally {
    await close();
  }
}

/** Opens an image in the agent that is held, until it is closed or does not open. */
async function openIn(
  { ask, release }: Hold,
  name: string,
  options: { snapshot?: string; writable: boolean },
): Promise<{ image: number; sizeBytes: number; close(this: void): Promise<void> }> {
  try {
    const opened = await ask('openImage', name, options);
    return { ...opened, close: async () => await ask('closeImage', opened.image).finally(release) };
  } catch (error) {
    release();
    throw error;
  }
}

/** Between two of these it tells how far it is: a multiple of what the agent reads at once. */
const HASH_STEP_BYTES = 64 * MiB;

async function hashThrough(
  ask: Ask,
  name: string,
  { algorithm, lengthBytes, onProgress }: HashOptions,
): Promise<string> {
  const { image } = await ask('openImage', name, { writable: false });
  for (let offset = 0; offset < lengthBytes; offset += HASH_STEP_BYTES) {
    const end = Math.min(offset + HASH_STEP_BYTES, lengthBytes);
    await ask('hashOn', image, algorithm, { offset, lengthBytes: end - offset });
    onProgress(end);
  }
  return await ask('digestOf', image);
}

async function readAnywhere(
  hold: Hold,
  name: string,
  snapshot: string | undefined,
): Promise<Omit<GuestReader, 'hash'> & { sizeBytes: number }> {
  const { image, sizeBytes, close } = await openIn(hold, name, { snapshot, writable: false });
  return {
    sizeBytes,
    close,
    async read(offset, lengthBytes) {
      const end = Math.min(sizeBytes, offset + lengthBytes);
      return end <= offset ? Buffer.alloc(0) : Buffer.from(await hold.ask('readAt', image, offset, end - offset));
    },
  };
}

/** Bytes on their way to the cluster, whatever the image's size: their number times the size of an object. */
const WRITES_IN_FLIGHT = 8;

/** Neighbours go in one write, up to an object's size; several writes are on their way at once, from memory that is used again and again. */
async function writeThrough(hold: Hold, name: string): Promise<GuestWriter> {
  const { ask } = hold;
  const { image, close } = await openIn(hold, name, { writable: true });
  const inFlight = new Set<Promise<void>>();
  const unused: Buffer[] = Array.from({ length: WRITES_IN_FLIGHT }, () => Buffer.allocUnsafeSlow(OBJECT_BYTES));
  let failure: { error: unknown } | undefined;
  let gathered: { buffer: Buffer; position: number; bytes: number } | undefined;

  const check = (): void => {
    if (failure !== undefined) throw failure.error;
  };
  const send = async ({ buffer, position, bytes }: NonNullable<typeof gathered>): Promise<void> => {
    try {
      await ask('writeAt', image, position, buffer.subarray(0, bytes));
    } catch (error) {
      failure ??= { error };
    }
    unused.push(buffer);
  };
  const sendGathered = async (): Promise<void> => {
    if (gathered === undefined) return;
    const sent: Promise<void> = send(gathered).finally(() => inFlight.delete(sent));
    gathered = undefined;
    inFlight.add(sent);
    if (inFlight.size >= WRITES_IN_FLIGHT) await Promise.race(inFlight);
    check();
  };
  /** Copies: the caller uses its buffer again. */
  const add = async (bytes: Buffer, position: number): Promise<void> => {
    if (gathered !== undefined && position !== gathered.position + gathered.bytes) await sendGathered();
    for (let done = 0; done < bytes.length;) {
      gathered ??= {
        buffer: unused.pop() ?? Buffer.allocUnsafeSlow(OBJECT_BYTES),
        position: position + done,
        bytes: 0,
      };
      const copied = bytes.copy(gathered.buffer, gathered.bytes, done);
      gathered.bytes += copied;
      done += copied;
      if (gathered.bytes === OBJECT_BYTES) await sendGathered();
    }
  };
  return {
    async write(bytes, position) {
      check();
      for (const { start, end } of dataRuns(bytes)) await add(bytes.subarray(start, end), position + start);
    },
    async flush() {
      await sendGathered();
      await Promise.all(inFlight);
      check();
      await ask('flushImage', image);
    },
    async close() {
      await Promise.all(inFlight);
      await close();
    },
  };
}
