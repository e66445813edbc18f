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
  const onMoved = jest.fn();
  const port = await choosePort(taken, 'API', onMoved);
  expect(onMoved.mock.calls).toEqual([[{ what: 'API', from: taken, to: port }]]);
  expect(port).not.toBe(taken);
});

test('a free port is taken as wanted', async () => {
  await new Promise((resolve) => server.close(resolve));
  expect(await choosePort(taken)).toBe(taken);
});

test('port 0 asks for any', async () => {
  expect(await choosePort(0)).toBeGreaterThan(0);
});

test('it tells whether something listens', async () => {
  expect(await isListening(taken)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await isListening(taken)).toBe(false);
});
