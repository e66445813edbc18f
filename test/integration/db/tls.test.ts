import { sql } from 'drizzle-orm';
import { connectDatabase } from '../../../db/client';
import { migrateDatabase } from '../../../db/migrate';
import { runStatement } from '../../../db/statement';
import { startTlsPostgres, type TlsPostgres } from '../../support/database/tls-postgres';

let server: TlsPostgres;

beforeAll(async () => {
  server = await startTlsPostgres({
    databases: ['both', 'encrypted', 'plain', 'certified'],
    access: [
      'host both all 127.0.0.1/32 scram-sha-256',
      'hostssl encrypted all 127.0.0.1/32 scram-sha-256',
      'hostnossl plain all 127.0.0.1/32 scram-sha-256',
      'hostssl certified all 127.0.0.1/32 cert',
    ],
  });
});
afterAll(() => server.stop());

/** @param parameters of the URL. */
function urlOf(database: string, parameters: Record<string, string> = {}, host = 'localhost'): string {
  const query = new URLSearchParams(parameters);
  return `postgres://${server.user}:${server.password}@${host}:${server.port}/${database}?${query.toString()}`;
}

/** @returns whether the session is encrypted. */
async function encryption(url: string): Promise<unknown> {
  const database = connectDatabase(url, { maxConnections: 2 });
  try {
    const [row] = await database.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
    return row?.['ssl'];
  } finally {
    await database.close();
  }
}

const ca = () => server.path('ca.crt');
const otherCa = () => server.path('other-ca.crt');

describe('sslmode', () => {
  it.each([
    ['both', 'disable', false],
    ['both', 'allow', false],
    ['encrypted', 'allow', true],
    ['both', 'prefer', true],
    ['plain', 'prefer', false],
    ['both', 'require', true],
    ['plain', 'disable', false],
  ])('a database that takes %s is reached with %s, encrypted: %s', async (database, sslmode, encrypted) => {
    expect(await encryption(urlOf(database, { sslmode }))).toBe(encrypted);
  });

  it('is prefer when nobody says it', async () => {
    expect(await encryption(urlOf('both'))).toBe(true);
  });

  it.each([
    ['encrypted', 'disable'],
    ['plain', 'require'],
  ])('a database that takes %s is not reached with %s', async (database, sslmode) => {
    await expect(encryption(urlOf(database, { sslmode }))).rejects.toThrow('pg_hba.conf');
  });

  it('require checks the authority where one is named, as verify-ca does', async () => {
    for (const sslmode of ['require', 'verify-ca']) {
      expect(await encryption(urlOf('both', { sslmode, sslrootcert: ca() }))).toBe(true);
      await expect(encryption(urlOf('both', { sslmode, sslrootcert: otherCa() }))).rejects.toThrow('certificate');
    }
  });

  it('verify-ca takes the certificate of another name, verify-full does not', async () => {
    const parameters = { sslrootcert: ca() };
    expect(await encryption(urlOf('both', { ...parameters, sslmode: 'verify-ca' }, '127.0.0.1'))).toBe(true);
    expect(await encryption(urlOf('both', { ...parameters, sslmode: 'verify-full' }))).toBe(true);
    const wrongName = encryption(urlOf('both', { ...parameters, sslmode: 'verify-full' }, '127.0.0.1'));
    await expect(wrongName).rejects.toThrow('127.0.0.1');
  });

  it('verify-full without a root certificate trusts public authorities alone', async () => {
    await expect(encryption(urlOf('both', { sslmode: 'verify-full' }))).rejects.toThrow('certificate');
  });
});

it('a certificate of the client lets in without a password', async () => {
  const certificate = { sslcert: server.path('client.crt'), sslkey: server.path('client.key') };
  const certified = urlOf('certified', { sslmode: 'verify-full', sslrootcert: ca(), ...certificate });
  expect(await encryption(certified.replace(`:${server.password}@`, '@'))).toBe(true);
  await expect(encryption(urlOf('certified', { sslmode: 'require' }))).rejects.toThrow('certificate');
});

it('the inventory is migrated over TLS', async () => {
  const url = urlOf('encrypted', { sslmode: 'verify-full', sslrootcert: ca() });
  await migrateDatabase(url);
  const database = connectDatabase(url, { maxConnections: 1 });
  expect(await runStatement(database, sql`select id from installation`)).toBe(0);
  await database.close();
});
