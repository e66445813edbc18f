import { close, createLoopbackServer, listen } from './loopback-server';

interface Liveness {
  url: string;
  close(): Promise<void>;
}

/**
 * `GET /livez` on loopback: 200 while `isAlive` says so, 503 with its reason otherwise. For a supervisor's probe;
 * probes that come while one is being answered share its answer.
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
  const url = await listen(server, { port });
  return { url: `${url}/livez`, close: () => close(server) };
}
