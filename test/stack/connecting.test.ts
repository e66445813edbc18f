import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startTlsPostgres, type TlsPostgres } from '../support/database/tls-postgres';
import { startTemporalGate, type TemporalGate } from '../support/machine/temporal-gate';
import { useStack } from '../support/stack/flows';
import { readIvc, runIvc } from '../support/stack/ivc';

const API_KEY = 'key-that-nobody-may-see';
const WRONG_KEY = 'other-key-that-nobody-may-see';

let postgres: TlsPostgres;
let gate: TemporalGate;

/** A Temporal server that wants a certificate and a key, and a PostgreSQL that wants TLS, both named by standard variables alone. */
const flow = useStack(async ({ directory, after }) => {
  const access = [
    'hostssl inventory all 127.0.0.1/32 scram-sha-256',
    'hostssl postgres all 127.0.0.1/32 scram-sha-256',
  ];
  postgres = await startTlsPostgres({ databases: ['inventory'], access });
  after(() => postgres.stop());
  const { path, user, password, port } = postgres;
  const temporalAddress = process.env['IVC_TEST_TEMPORAL_ADDRESS'] ?? '';
  gate = await startTemporalGate(temporalAddress, { path, apiKey: API_KEY });
  after(() => gate.stop());
  const secretFile = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const profile = `[profile.cloud]
address = "${gate.address}"
namespace = "default"
[profile.cloud.tls]
server_ca_cert_path = "${path('ca.crt')}"
client_cert_path = "${path('client.crt')}"
client_key_path = "${path('client.key')}"
server_name = "localhost"
`;
  return {
    temporalAddress,
    databaseUrl: `postgres://${user}:${password}@localhost:${port}/inventory?sslmode=require`,
    config: { database: { url: 'embedded' } },
    environment: {
      TEMPORAL_CONFIG_FILE: secretFile('temporal.toml', profile),
      TEMPORAL_PROFILE: 'cloud',
      TEMPORAL_API_KEY_FILE: secretFile('api-key', `${API_KEY}\n`),
      PGHOST: 'localhost',
      PGPORT: String(port),
      PGUSER: user,
      PGDATABASE: 'inventory',
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: path('ca.crt'),
      PGPASSFILE: secretFile('pgpass', `# ours\nother:*:*:*:wrong\nlocalhost:${port}:inventory:${user}:${password}\n`),
    },
  };
});

const secrets = (): string[] => [
  API_KEY,
  WRONG_KEY,
  postgres.password,
  ...readFileSync(postgres.path('client.key'), 'utf8').split('\n').slice(1, 3),
];

function expectNoSecret(...texts: string[]): void {
  for (const text of texts)
    for (const secret of secrets()) expect(text.includes(secret) ? `${secret} in ${text}` : undefined).toBeUndefined();
}

it('a worker and the command line reach both, and say none of the secrets', async () => {
  const { environment, workers, backend, cache } = flow.stack;
  const { image } = await flow.upload('secured');
  const create = ['volume', 'create', '--image', image.id, '--backend', backend];
  const created = await readIvc(create, { ...environment, IVC_CONFIG: environment['IVC_CONFIG'] });
  expect(created).toMatchObject({ exitCode: 0, document: { outcome: 'miss' } });
  expect(cache.settings.address).not.toBe(gate.address);
  expect(gate.calls.passed).toBeGreaterThan(0);

  const answers = [
    await runIvc(['doctor'], environment),
    await runIvc(['doctor', '--json'], environment),
    await runIvc(['volume', 'list', '--json'], environment),
  ];
  expect(answers[2]?.stdout).toContain(created.document['volumeId']);
  expect(answers[0]?.stdout).toContain(gate.address);
  expectNoSecret(JSON.stringify(created), ...answers.flatMap(({ stdout, stderr }) => [stdout, stderr]));
  for (const { logPath } of workers) expectNoSecret(readFileSync(logPath, 'utf8'));
});

describe('what is refused is told without a secret', () => {
  const worker = (own: NodeJS.ProcessEnv) =>
    runIvc(['worker', '--roles', 'control'], { ...flow.stack.environment, ...own });

  const bare = (): NodeJS.ProcessEnv => ({
    TEMPORAL_ADDRESS: gate.address,
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: postgres.path('ca.crt'),
    TEMPORAL_TLS_SERVER_NAME: 'localhost',
  });

  it('by servers', async () => {
    const cases: [NodeJS.ProcessEnv, string][] = [
      [{ TEMPORAL_API_KEY: WRONG_KEY }, 'does not let us in'],
      [{ TEMPORAL_PROFILE: '', TEMPORAL_CONFIG_FILE: '', ...bare() }, 'temporal.address'],
      [{ TEMPORAL_TLS_SERVER_CA_CERT_PATH: postgres.path('other-ca.crt') }, 'temporal.address'],
      [{ TEMPORAL_TLS_SERVER_NAME: 'elsewhere' }, 'temporal.address'],
      [{ PGPASSWORD: WRONG_KEY }, 'PGPASSWORD'],
    ];
    // Side by side: a handshake is tried until its deadline.
    await Promise.all(
      cases.map(async ([env, said]) => {
        const { exitCode, stdout, stderr } = await worker(env);
        expect({ exitCode, stderr }).toEqual({ exitCode: 5, stderr: expect.stringContaining(said) });
        expectNoSecret(stdout, stderr);
      }),
    );
  });

  it.each<[string, () => NodeJS.ProcessEnv]>([
    ['a key over two lines', () => ({ TEMPORAL_API_KEY: `${WRONG_KEY}\n${API_KEY}` })],
    ['a key file that is not there', () => ({ TEMPORAL_API_KEY_FILE: '/nonexistent/key' })],
    ['a profile that is not there', () => ({ TEMPORAL_PROFILE: 'nowhere' })],
    ['a URI that cannot be read', () => ({ DATABASE_URL: `u:${WRONG_KEY}@host` })],
    ['a URI with an @ in its password', () => ({ DATABASE_URL: `mysql://u:x@${WRONG_KEY}@host/x` })],
    ['a broken profile', () => ({ TEMPORAL_CONFIG_FILE: brokenProfile() })],
  ])('%s', async (_, env) => {
    const { exitCode, stdout, stderr } = await worker(env());
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('fault') });
    expectNoSecret(stdout, stderr);
  });

  function brokenProfile(): string {
    const path = join(flow.directory, 'broken.toml');
    writeFileSync(path, `[profile.cloud]\napi_key = ${WRONG_KEY}\n`);
    return path;
  }
});
