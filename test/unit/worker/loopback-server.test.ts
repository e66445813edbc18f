import { once } from 'node:events';
import { request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startProbes } from '../../../worker/probes';
import { createLoopbackServer } from '../../../worker/loopback-server';

let server: Server;
let port: number;
beforeEach(async () => {
  server = createLoopbackServer({ onRequest: (_, response) => response.end('served') });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterEach(async () => {
  server.close();
  await once(server, 'close');
});

async function ask(
  headers: Record<string, string>,
  { at = port, path = '/' } = {},
): Promise<{ status: number | undefined; text: string }> {
  const sent = request({ port: at, host: '127.0.0.1', path, headers, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, text: Buffer.concat(chunks).toString() };
}

describe('an HTTP face', () => {
  it.each<[string, Record<string, string>]>([
    ['a program', {}],
    ['a program by name', { host: 'localhost:9292' }],
    ['a program by address', { host: '127.0.0.1' }],
    ['a program by IPv6 address', { host: '[::1]:9292' }],
    ['a person in the address bar', { 'sec-fetch-site': 'none' }],
    ['a page of its own', { host: 'localhost:1', origin: 'http://localhost:1', 'sec-fetch-site': 'same-origin' }],
  ])('answers %s', async (_, headers) => {
    expect(await ask(headers)).toEqual({ status: 200, text: 'served' });
  });

  it.each<[string, Record<string, string>, string]>([
    ['a name that points here', { host: 'evil.example:9292' }, 'Host: got "evil.example:9292"'],
    ['a name that looks like ours', { host: 'localhost.evil.example' }, 'Host: got'],
    ['an address of another host', { host: '10.0.0.1:9292' }, 'Host: got'],
    ['an address that is longer', { host: '127.0.0.1.evil.example' }, 'Host: got'],
    ['a foreign page', { origin: 'https://evil.example' }, 'Origin: got "https://evil.example"'],
    ['a sandboxed page', { origin: 'null' }, 'Origin: got "null"'],
    ['a page of another port', { host: 'localhost:1', origin: 'http://localhost:2' }, 'Origin: got'],
    ['a foreign image or link', { 'sec-fetch-site': 'cross-site' }, 'Sec-Fetch-Site: got "cross-site"'],
    ['a page of another port, by a link', { 'sec-fetch-site': 'same-site' }, 'Sec-Fetch-Site: got "same-site"'],
  ])('refuses %s, and says why', async (_, headers, why) => {
    expect(await ask(headers)).toEqual({ status: 403, text: expect.stringContaining(why) });
  });

  it('of the worker, its probes, is one', async () => {
    const probes = await startProbes({ host: '127.0.0.1', port: 0, ...sound });
    const there = { at: Number(new URL(probes.livenessUrl).port), path: '/livez' };
    expect(await ask({}, there)).toEqual({ status: 200, text: 'ok\n' });
    expect(await ask({ host: 'evil.example' }, there)).toMatchObject({ status: 403 });
    await probes.close();
  });

  it('of the worker answers by any name where an operator has opened it', async () => {
    const probes = await startProbes({ host: '0.0.0.0', port: 0, ...sound });
    const there = { at: Number(new URL(probes.readinessUrl).port), path: '/readyz' };
    expect(await ask({ host: 'worker-1.example' }, there)).toEqual({ status: 200, text: 'ok\n' });
    expect(await ask({ host: 'worker-1.example', origin: 'https://evil.example' }, there)).toMatchObject({
      status: 403,
    });
    await probes.close();
  });

  it.each<[string, Partial<Parameters<typeof startProbes>[0]>, number[]]>([
    ['lives, though it waits', { findTrouble: async () => await Promise.resolve('no database') }, [200, 503]],
    ['lives, though its check fails', { findTrouble: async () => await Promise.reject(new Error('gone')) }, [200, 503]],
    ['is dead', { findDeath: () => 'the worker of q is FAILED' }, [503, 503]],
  ])('of a worker that %s', async (_, trouble, answers) => {
    const probes = await startProbes({ host: '127.0.0.1', port: 0, ...sound, ...trouble });
    const statuses = [probes.livenessUrl, probes.readinessUrl].map(async (url) => (await fetch(url)).status);
    expect(await Promise.all(statuses)).toEqual(answers);
    await probes.close();
  });
});

const sound = { findDeath: () => undefined, findTrouble: async () => await Promise.resolve(undefined) };
