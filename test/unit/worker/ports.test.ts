import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { choosePort, isListening, isListeningOn, startOnFreePorts } from '../../../worker/ports';

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
  const port = await choosePort(taken, { what: 'API', onMoved });
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

test('it tells which process listens', async () => {
  expect(await isListeningOn(taken, process.pid)).toBe(true);
  expect(await isListeningOn(taken, process.ppid)).toBe(false);
  expect(await isListeningOn(await choosePort(0), process.pid)).toBe(false);
});

describe('a start on ports that were free', () => {
  const listenOn = async ({ port }: { port: number }): Promise<Server> => {
    const started = createServer().listen(port, '127.0.0.1');
    await once(started, 'listening');
    return started;
  };

  test('chooses others when one of them was taken meanwhile', async () => {
    const choices = [taken, await choosePort(0)];
    const started = await startOnFreePorts(async () => await Promise.resolve({ port: choices.shift() ?? 0 }), listenOn);
    expect(started.listening).toBe(true);
    expect(choices).toEqual([]);
    await new Promise((resolve) => started.close(resolve));
  });

  test('tells its own fault at once', async () => {
    const port = await choosePort(0);
    const start = jest.fn(() => {
      throw new Error('the disk is full');
    });
    await expect(startOnFreePorts(async () => await Promise.resolve({ port }), start)).rejects.toThrow(
      'the disk is full',
    );
    expect(start).toHaveBeenCalledTimes(1);
  });

  test('gives up when every choice is taken', async () => {
    const start = jest.fn(listenOn);
    await expect(startOnFreePorts(async () => await Promise.resolve({ port: taken }), start)).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
    expect(start).toHaveBeenCalledTimes(5);
  });
});
