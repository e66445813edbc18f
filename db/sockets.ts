import { connect, Socket } from 'node:net';
import { types } from 'node:util';
import { owedAnswers } from './owed-answers';
import { firstAnswer, settled, startTls } from './tls';
import type { TlsSettings } from './url';

/** The sockets of one pool: the driver says what is sent, these say how, and how long the server may be silent. */
export interface Sockets {
  /** Never rejects: the socket's events tell of a failure, as the driver expects it. */
  open(): Promise<Socket>;
  /** Ends them all at once; later ones are dead from the start. */
  destroy(): void;
}

export interface SocketsOptions {
  host: string;
  port: number;
  tls: TlsSettings;
  /** The driver's own login. */
  login(): { user: string; database: string };
  /** How long the server may be silent before the driver begins. */
  connectMs: number;
  /** How long a server that owes an answer may say nothing. */
  silenceMs: number;
}

/**
 * A stopped server or a cut network leaves a connection open and says nothing: the driver would wait for ever. A socket
 * whose server owes an answer and has sent nothing for `silenceMs` is destroyed, which fails its statement or
 * transaction and makes the pool connect again.
 */
export function createSockets(options: SocketsOptions): Sockets {
  const { host, port } = options;
  const open = new Set<Socket>();
  let closed = false;
  const connectNow = (): Socket => {
    const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    if (closed) socket.destroy(connectionError('CONNECTION_ENDED', 'the pool is closed'));
    // The driver names them in its own errors.
    return Object.assign(socket, { host, port });
  };
  const openByMode = createOpener(options, connectNow);
  return {
    open: async () => {
      try {
        return watched(await openByMode(), options);
      } catch (error) {
        return deadSocket(error);
      }
    },
    destroy: () => {
      closed = true;
      for (const socket of open) socket.destroy();
    },
  };
}

type Way = 'plain' | 'tls';

/** By the order in which libpq tries them; a unix socket is never encrypted. */
function waysOf({ host, tls }: SocketsOptions): [Way, Way?] {
  if (host.startsWith('/') || tls.mode === 'disable') return ['plain'];
  if (tls.mode === 'allow') return ['plain', 'tls'];
  return tls.mode === 'prefer' ? ['tls', 'plain'] : ['tls'];
}

function createOpener(options: SocketsOptions, connectNow: () => Socket): () => Promise<Socket> {
  const [first, second] = waysOf(options);
  /** Where there are two ways, the first one that the server was found to take. */
  let known: Way | undefined = second === undefined ? first : undefined;
  return async () => {
    if (known === undefined) {
      const isTaken = await takes(first, options, connectNow());
      if (isTaken !== undefined) known = isTaken ? first : second;
      return await openBy(known ?? second ?? first, options, connectNow());
    }
    return await openBy(known, options, connectNow());
  };
}

async function openBy(way: Way, options: SocketsOptions, socket: Socket): Promise<Socket> {
  if (way === 'plain') return socket;
  const secured = await beforeTheDriver(socket, options, () => startTls(socket, options));
  if (secured === undefined)
    throw new Error(`PostgreSQL at ${nameOf(options)} has no TLS, which sslmode=${options.tls.mode} requires`);
  return secured;
}

/**
 * Begins to log in on a connection of its own. @returns undefined where the answer may be another one next time.
 * @throws when the server is not there.
 */
async function takes(way: Way, options: SocketsOptions, socket: Socket): Promise<boolean | undefined> {
  try {
    return await beforeTheDriver(socket, options, async () => {
      await settled(socket, 'connect');
      const open = way === 'plain' ? socket : await startTls(socket, options).catch(() => null);
      if (open === null) return undefined;
      return open !== undefined && !isRefusal(await firstAnswer(open, startupMessage(options.login())));
    });
  } finally {
    socket.destroy();
  }
}

/** `pg_hba.conf` names who may come encrypted and who not. */
const INVALID_AUTHORIZATION = 'C28000\0';

function isRefusal(answer: Buffer): boolean {
  return answer.toString('latin1', 0, 1) === 'E' && answer.includes(INVALID_AUTHORIZATION);
}

function startupMessage({ user, database }: { user: string; database: string }): Buffer {
  const PROTOCOL_3 = 196_608;
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0\0`);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(header.length + parameters.length, 0);
  header.writeUInt32BE(PROTOCOL_3, 4);
  return Buffer.concat([header, parameters]);
}

async function beforeTheDriver<T>(socket: Socket, options: SocketsOptions, work: () => Promise<T>): Promise<T> {
  const { connectMs } = options;
  const giveUp = (): void => {
    socket.destroy(
      connectionError('ETIMEDOUT', `PostgreSQL at ${nameOf(options)} did not answer for ${connectMs / 1000} s`),
    );
  };
  socket.setTimeout(connectMs).once('timeout', giveUp);
  // Told by what is waited for; between two waits nobody listens.
  const ignore = (): void => undefined;
  socket.on('error', ignore);
  try {
    return await work();
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    socket.setTimeout(0).off('timeout', giveUp);
    if (!socket.destroyed) socket.off('error', ignore);
  }
}

function watched(socket: Socket, options: SocketsOptions): Socket {
  const { silenceMs } = options;
  const owed = owedAnswers();
  let timer: NodeJS.Timeout | undefined;
  const watch = (): void => {
    clearTimeout(timer);
    if (owed.count() === 0) return;
    timer = setTimeout(() => {
      const message = `PostgreSQL at ${nameOf(options)} did not answer for ${silenceMs / 1000} s`;
      socket.destroy(connectionError('ETIMEDOUT', message));
    }, silenceMs);
  };
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (chunk: Buffer, ...rest: unknown[]) => {
    const wasIdle = owed.count() === 0;
    owed.sent(chunk);
    // More that is sent meanwhile gives the server no more time.
    if (wasIdle) watch();
    return write(chunk, ...rest);
  };
  socket.on('data', (chunk: Buffer) => {
    owed.received(chunk);
    watch();
  });
  // Without an error the driver would connect again and again for a statement that it still holds.
  socket.once('end', () => {
    if (owed.count() > 0)
      socket.destroy(connectionError('ECONNRESET', `PostgreSQL at ${nameOf(options)} closed the connection`));
  });
  socket.once('close', () => clearTimeout(timer));
  return socket;
}

/** Tells the driver when it listens. */
function deadSocket(error: unknown): Socket {
  const socket = new Socket();
  // Node's own errors are no `instanceof Error` where code runs in a context of its own.
  setImmediate(() => socket.destroy(types.isNativeError(error) ? error : new Error(String(error))));
  return socket;
}

function nameOf({ host, port }: SocketsOptions): string {
  return host.startsWith('/') ? host : `${host}:${port}`;
}

function connectionError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
