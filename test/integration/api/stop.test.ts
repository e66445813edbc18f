import { once } from 'node:events';
import { startApi } from '../../support/stack/api';
import { openRawHttp, requestHead } from '../../support/machine/raw-http';
import { useStack } from '../../support/stack/flows';

const flow = useStack();
const body = JSON.stringify({ volume: { size: 1, name: 'last' } });

/** A request whose body has not come yet. */
async function begin(url: string) {
  const connection = await openRawHttp(url);
  connection.say(requestHead('POST /v3/p1/volumes', body.length, { expect: '100-continue' }));
  await connection.hears(/100 Continue/);
  return connection;
}

const refusesConnections = async (url: string) =>
  await openRawHttp(url).then(
    ({ socket }) => void socket.destroy(),
    () => true,
  );

describe('an API that is told to stop', () => {
  it('answers what is under way, accepts no connection any more, and ends with 0', async () => {
    const api = await startApi(flow.stack);
    const request = await begin(api.url);
    const exited = once(api.process, 'exit');
    api.process.kill('SIGTERM');
    await flow.until('new connections to be refused', () => refusesConnections(api.url));
    expect(api.process.exitCode).toBeNull();
    request.say(body);
    expect(await request.ended).toMatch(/HTTP\/1.1 202 Accepted[^]*connection: close[^]*"name":"last"/i);
    expect(await exited).toEqual([0, null]);
  });

  it('ends in time, though a request never ends', async () => {
    const api = await startApi(flow.stack, { shutdownGrace: '300ms' });
    const request = await begin(api.url);
    expect(await api.stop()).toBe(0);
    expect(await request.ended).not.toContain('202');
  });
});
