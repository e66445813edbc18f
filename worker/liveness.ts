import type { AddressInfo } from 'node:net';
import { createLoopbackServer } from './loopback-server';

interface Liveness {
  url: string;
  close(): Promise<void>;
}

/**
 * `GET /livez` on loopback: 200 while `isAlive` says so, 503 with its reason otherwise. For a supervisor's probe; probes that come while one is being
 * answered share its answer.
 * @param port 0: any free one.
 */
export async function startLiveness(port: number, isAlive: () => Promise<string | undefined>): Promise<Liveness> {
  let asking: Promise<string | undefined> | undefined;
  const ask = (): Promise<string | undefined> =>
    (asking ??= isAlive().finally(() => {
      asking = undefined;
    }));
  const server = createLoopbackServer({
    onRequest: (request, response) => {
      if (request.url !== '/livez') {
        response.writeHead(404).end();
        return;
      }
      ask().then(
        (trouble) =>
          response
            .writeHead(trouble === undefined ? 200 : 503, { 'content-type': 'text/plain' })
            .end(`${trouble ?? 'ok'}\n`),
        (error: unknown) => response.writeHead(503, { 'content-type': 'text/plain' }).end(`${String(error)}\n`),
      );
    },
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}/livez`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // A probe whose answer is still looked for gets none.
        server.closeAllConnections();
      }),
  };
}
