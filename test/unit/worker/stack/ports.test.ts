import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { choosePort, isListening } from '../../../../worker/stack/ports';

let server: Server;
let taken: number;
beforeEach(async () => {
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  taken = typeof address === 'object' && address ? address.port : 0;
});
afterEach(async () => {
  if (server.listening) await new Promise((resolve) => server.close(resolve));
});

test('a taken port moves to a free one and says from where', async () => {
  const chosen = await choosePort(taken);
  expect(chosen.takenPort).toBe(taken);
  expect(chosen.port).not.toBe(taken);
});

test('a free port is taken as wanted', async () => {
  await new Promise((resolve) => server.close(resolve));
  expect(await choosePort(taken)).toEqual({ port: taken });
});

test('port 0 asks for any', async () => {
  expect((await choosePort(0)).port).toBeGreaterThan(0);
});

test('it tells whether something listens', async () => {
  expect(await isListening(taken)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await isListening(taken)).toBe(false);
});
