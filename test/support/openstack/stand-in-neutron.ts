import { createServer } from 'node:http';
import { close, listen } from '../../../worker/loopback-server';

/** So much of a Neutron that Nova shows and deletes servers without a network: every list of it, such as that of ports, is empty. */
export async function startStandInNeutron(): Promise<{ url: string; stop: () => Promise<void> }> {
  const server = createServer((request, response) => {
    request.resume();
    const [, list] = /^\/v2\.0\/(\w+)(?:\?|$)/.exec(request.url ?? '') ?? [];
    const isList = request.method === 'GET' && list !== undefined;
    response
      .writeHead(isList ? 200 : 404, { 'content-type': 'application/json' })
      .end(JSON.stringify(isList ? { [list]: [] } : {}));
  });
  return { url: await listen(server, { port: 0 }), stop: async () => await close(server) };
}
