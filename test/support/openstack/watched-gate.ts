import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A way to a local HTTP service on which a test sees the requests' heads, slows the answers down and cuts them. */
export interface WatchedGate {
  url: string;
  /** Heads of all requests so far, by their first lines and headers. */
  heads(): string;
  /** Values of `X-Auth-Token`, each once. */
  tokens(): string[];
  /** Bytes of answers that came through. */
  bytesPassed(): number;
  /** Of each connection's answers; 0: they are held; Infinity: as they come. */
  pace(bytesPerSecond: number): void;
  cut(): void;
  close(): Promise<void>;
}

const TICK_MS = 20;

export async function startWatchedGate(target: string): Promise<WatchedGate> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const sent: string[] = [];
  let bytesPassed = 0;
  let bytesPerSecond = Infinity;
  const server = createServer((incoming) => {
    const outgoing = connect(Number(port), hostname);
    const end = (): void => [incoming, outgoing].forEach((socket) => socket.destroy());
    for (const socket of [incoming, outgoing]) {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', end);
    }
    incoming.on('data', (chunk: Buffer) => {
      sent.push(chunk.toString('latin1'));
      outgoing.write(chunk);
    });
    incoming.on('close', end);
    const wait = async (bytes: number): Promise<void> => {
      for (let left = bytes; left > 0 && Number.isFinite(bytesPerSecond) && !incoming.destroyed;) {
        await delay(TICK_MS);
        left -= (bytesPerSecond * TICK_MS) / 1000;
      }
    };
    const answer = async (): Promise<void> => {
      for await (const chunk of outgoing as AsyncIterable<Buffer>) {
        await wait(chunk.length);
        bytesPassed += chunk.length;
        if (!incoming.write(chunk)) await Promise.race([once(incoming, 'drain'), once(incoming, 'close')]);
      }
      incoming.end();
    };
    answer().catch(end);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => sockets.forEach((socket) => socket.destroy());
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heads: () => sent.join(''),
    tokens: () => [...new Set([...sent.join('').matchAll(/^x-auth-token: (\S+)/gim)].map(([, token = '']) => token))],
    bytesPassed: () => bytesPassed,
    pace: (to) => void (bytesPerSecond = to),
    cut,
    close: async () => {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
