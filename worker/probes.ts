import { close, createLoopbackServer, listen } from './loopback-server';

export interface ProbesOptions {
  /** IP address to listen on. */
  host: string;
  /** 0: any free one. */
  port: number;
  /** @returns why the process is to be started again, for people; undefined: it is not. */
  findDeath: () => string | undefined;
  /** @returns what it waits for before it can serve, for people; undefined: it serves. An error that it throws counts as one. */
  findTrouble: () => Promise<string | undefined>;
}

interface Probes {
  livenessUrl: string;
  readinessUrl: string;
  close(): Promise<void>;
}

/**
 * `GET /livez` and `GET /readyz` for a supervisor's probes: 200, or 503 with the reason. A worker that lives may be
 * unready, as while its database is away, which another start of it would not bring back. Readiness probes that come
 * while one is being answered share its answer.
 * @throws Error when the address is in use.
 */
export async function startProbes({ host, port, findDeath, findTrouble }: ProbesOptions): Promise<Probes> {
  let asking: Promise<string | undefined> | undefined;
  const shareTrouble = (): Promise<string | undefined> =>
    (asking ??= findTrouble()
      .catch((error: unknown) => String(error))
      .finally(() => {
        asking = undefined;
      }));
  const probes = new Map([
    ['/livez', async () => await Promise.resolve(findDeath())],
    ['/readyz', async () => findDeath() ?? (await shareTrouble())],
  ]);
  const server = createLoopbackServer({
    anyHost: !isLoopbackAddress(host),
    onRequest: (request, response) => {
      const probe = probes.get(request.url ?? '');
      if (probe === undefined) {
        response.writeHead(404).end();
        return;
      }
      void probe().then((trouble) =>
        response
          .writeHead(trouble === undefined ? 200 : 503, { 'content-type': 'text/plain' })
          .end(`${trouble ?? 'ok'}\n`),
      );
    },
  });
  const url = await listen(server, { host, port });
  return { livenessUrl: `${url}/livez`, readinessUrl: `${url}/readyz`, close: () => close(server) };
}

function isLoopbackAddress(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}
