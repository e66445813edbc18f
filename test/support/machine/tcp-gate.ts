import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a local server that can be closed and opened again at the same port, and fall silent: a service that is down, or stopped, for a while. */
export interface TcpGate {
  url: string;
  port: number;
  close(): Promise<void>;
  open(): Promise<void>;
  /** From now on takes connections and bytes and passes nothing on, as a cut network does. */
  fallSilent(): void;
  /** Passes on what comes from now on; bytes that came meanwhile are lost with their connections. */
  speak(): void;
}

/** @param target an http URL, or the path of a unix socket. */
export async function startTcpGate(target: string): Promise<TcpGate> {
  const reach = (): Socket =>
    target.startsWith('/') ? connect(target) : connect(Number(new URL(target).port), '127.0.0.1');
  let silent = false;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
  };
  const server = createServer((incoming) => {
    const outgoing = reach();
    for (const socket of [incoming, outgoing]) keep(socket);
    passOn(incoming, outgoing, () => silent);
    passOn(outgoing, incoming, () => silent);
  });
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    close: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    open: () => listen(port),
    fallSilent: () => {
      silent = true;
    },
    speak: () => {
      silent = false;
      for (const socket of sockets) socket.destroy();
    },
  };
}

function passOn(from: Socket, to: Socket, isSilent: () => boolean): void {
  from.on('data', (chunk: Buffer) => {
    if (isSilent()) return;
    if (!to.write(chunk)) {
      from.pause();
      to.once('drain', () => from.resume());
    }
  });
  from.on('end', () => isSilent() || to.end());
  from.on('close', () => isSilent() || to.destroySoon());
}
