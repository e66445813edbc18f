import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { readdir, readFile, readlink } from 'node:fs/promises';

/** Told when a wanted port is in use: `what` listens there, as in `API` or `web UI`. */
export type OnPortMoved = (moved: { what: string; from: number; to: number }) => void;

const LOOPBACK = '127.0.0.1';

interface PortOptions {
  what?: string;
  /** IP address; default: 127.0.0.1. */
  host?: string;
  onMoved?: OnPortMoved;
}

/**
 * @returns a TCP port to listen on: the wanted one, or a free one when it is in use, which `onMoved` is told. `wanted`
 * 0 is any.
 */
export async function choosePort(
  wanted: number,
  { what = '', host = LOOPBACK, onMoved }: PortOptions = {},
): Promise<number> {
  const port = await probePort(wanted, host);
  if (port !== undefined) return port;
  const free = await probePort(0, host);
  if (free === undefined) throw new Error(`${host} has no free TCP port`);
  onMoved?.({ what, from: wanted, to: free });
  return free;
}

const MAX_STARTS = 5;

/** A program that was started could not listen, on a port of its own choosing for one, which `startOnFreePorts` cannot see. */
export class PortTaken extends Error {
  override readonly name = 'PortTaken';
}

/**
 * Starts what listens on ports that `choose` has found free. Another program may have taken one of them meanwhile, such
 * as a second stack that starts at the same moment: ports are chosen anew then, as after PortTaken.
 * @throws what `start` does, when its ports are free nevertheless or were taken five times.
 */
export async function startOnFreePorts<Ports extends Readonly<Record<string, number>>, Started>(
  choose: () => Promise<Ports>,
  start: (ports: Ports) => Promise<Started> | Started,
): Promise<Started> {
  for (let starts = 1; ; starts += 1) {
    const ports = await choose();
    try {
      return await start(ports);
    } catch (error) {
      const wasTaken = error instanceof PortTaken || (await isAnyTaken(Object.values(ports)));
      if (starts === MAX_STARTS || !wasTaken) throw error;
    }
  }
}

async function isAnyTaken(ports: readonly number[]): Promise<boolean> {
  const probes = await Promise.all(ports.map((port) => probePort(port)));
  return probes.includes(undefined);
}

const CONNECT_TIMEOUT_MS = 2000;

/** @returns whether something accepts connections there within 2 s. */
export async function isListening(port: number, host = LOOPBACK): Promise<boolean> {
  const socket = connect({ port, host, timeout: CONNECT_TIMEOUT_MS });
  const timedOut = new Promise<never>((_, reject) => socket.once('timeout', () => reject(new Error('timeout'))));
  try {
    await Promise.race([once(socket, 'connect'), timedOut]);
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/**
 * @returns whether this very process listens on the TCP port of 127.0.0.1: another one, which was faster, may answer
 * there. Source: proc(5), `/proc/pid/net/tcp`.
 */
export async function isListeningOn(port: number, pid: number): Promise<boolean> {
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).split('\n').slice(1);
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const inode = lines
    .map((line) => line.trim().split(/\s+/))
    .find(([, address, , state]) => address === local && state === TCP_LISTEN)?.[9];
  if (inode === undefined) return false;
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.includes(`socket:[${inode}]`);
}

const TCP_LISTEN = '0A';

/** @returns the port when it can be listened on at this moment. */
async function probePort(port: number, host = LOOPBACK): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen({ port, host, exclusive: true });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  } catch {
    return undefined;
  } finally {
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }
}
