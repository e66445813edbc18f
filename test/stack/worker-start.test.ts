import { createTestDatabase, type TestDatabase } from '../support/database/postgres';
import { runIvc, type IvcResult } from '../support/stack/ivc';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const UNAVAILABLE = 5;
const USAGE = 2;

/** A worker that cannot start: everything is there but what `env` names. */
function start(env: NodeJS.ProcessEnv): Promise<IvcResult> {
  return runIvc(['worker', '--roles', 'control'], {
    TEMPORAL_ADDRESS: process.env['IVC_TEST_TEMPORAL_ADDRESS'],
    DATABASE_URL: database.url,
    OS_IMAGE_ENDPOINT_OVERRIDE: 'http://127.0.0.1:1',
    IVC_DATA: '/nonexistent',
    IVC_METRICS_PORT: '0',
    ...env,
  });
}

describe('a worker that cannot start says which key of the configuration it is, and what to do', () => {
  it.each<[string, () => NodeJS.ProcessEnv, string]>([
    ['a Temporal server that is away', () => ({ TEMPORAL_ADDRESS: '127.0.0.1:1' }), 'temporal.address: 127.0.0.1:1'],
    ['a namespace that does not exist', () => ({ TEMPORAL_NAMESPACE: 'nowhere' }), 'temporal.namespace: '],
    ['a database server that is away', () => ({ DATABASE_URL: 'postgres://u:hidden@127.0.0.1:1/x' }), 'database.url: '],
    [
      'a database that does not exist',
      () => ({ DATABASE_URL: database.url.replace(/\/[^/]+$/, '/nowhere') }),
      'has no database nowhere',
    ],
    [
      'a password that is wrong',
      () => ({ DATABASE_URL: database.url.replace(/:\/\/([^:]+):[^@]*@/, '://$1:hidden@') }),
      'database.url: ',
    ],
  ])('%s', async (_, env, said) => {
    const { exitCode, stderr } = await start(env());
    expect({ exitCode, stderr }).toEqual({ exitCode: UNAVAILABLE, stderr: expect.stringContaining(said) });
    expect(stderr).not.toContain('hidden');
  });

  it('parts that only the embedded stack has, all at once', async () => {
    const { exitCode, stderr } = await runIvc(['worker'], { IVC_DATA: '/nonexistent' });
    expect({ exitCode, stderr }).toEqual({ exitCode: USAGE, stderr: expect.stringContaining('3 faults') });
  });
});
