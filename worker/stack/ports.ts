import { connect, createServer } from 'node:net';
import { once } from 'node:events';

/** Told when a wanted port is in use: `what` listens there, as in `API` or `web UI`. */
export type OnPortMoved = (moved: { what: string; from: number; to: number }) => void;

/**
 * @returns a TCP port of 127.0.0.1 to listen on: the wanted one, or a free one when it is in use, which `onMoved` is
 * told. `wanted` 0 is any.
 */
export async function choosePort(wanted: number, what = '', onMoved?: OnPortMoved): Promise<number> {
  const port = await probePort(wanted);
  if (port !== undefined) return port;
  const free = await probePort(0);
  if (free === undefined) throw new Error('127.0.0.1 has no free TCP port');
  onMoved?.({ what, from: wanted, to: free });
  return free;
}

const CONNECT_TIMEOUT_MS = 2000;

/** @returns whether something accepts connections there within 2 s. */
export async function isListening(port: number, host = '127.0.0.1'): Promise<boolean> {
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

/** @returns the port when it can be listened on at this moment. */
async function probePort(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen({ port, host: '127.0.0.1', exclusive: true });
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  } catch {
    return undefined;
  } finally {
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  }
}
