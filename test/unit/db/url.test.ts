import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDatabaseUrl } from '../../../db/url';
import { withDatabaseName } from '../../support/database/database-name';
import { Failure } from '../../../workflows/contract/failures';

test.each([
  ['postgres://db.example/ivc', { host: 'db.example', port: 5432, database: 'ivc', tls: { mode: 'prefer' } }],
  ['postgresql://u%40x:p%2Fw@db:6000/ivc', { host: 'db', port: 6000, user: 'u@x', password: 'p/w', database: 'ivc' }],
  ['postgres://user:pass@/ivc?host=/run/ivc', { host: '/run/ivc', user: 'user', password: 'pass', database: 'ivc' }],
  ['postgres://user@%2Frun%2Fivc/ivc', { host: '/run/ivc', user: 'user' }],
  ['postgres://%2Frun%2Fivc:5433/ivc', { host: '/run/ivc', port: 5433 }],
  ['postgres:///ivc?host=/run/ivc&port=5433&user=u', { host: '/run/ivc', port: 5433, user: 'u', database: 'ivc' }],
  ['postgres://[::1]:5433/ivc', { host: '::1', port: 5433 }],
  [
    'postgres://db/ivc?sslmode=verify-full&application_name=mine',
    { tls: { mode: 'verify-full' }, applicationName: 'mine' },
  ],
  ['postgres://', { host: 'localhost', database: undefined, user: undefined }],
])('%s is read as libpq reads it', (url, expected) => {
  expect(parseDatabaseUrl(url)).toMatchObject(expected);
});

test.each([
  ['mysql://u:secret@db/ivc'],
  ['postgres://u:secret@db:70000/ivc'],
  ['postgres://u:secret@db:x/ivc'],
  ['postgres://u:secret@db/ivc?sslmode=maybe'],
  ['postgres://u:secret@db/ivc?hots=/run'],
  ['postgres://u:secret%ZZ@db/ivc'],
])('%s is refused without a word of its password', (url) => {
  let thrown: unknown;
  try {
    parseDatabaseUrl(url);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(Failure);
  expect(thrown).toMatchObject({ type: 'InvalidRequest', details: { field: 'database.url' } });
  expect(String(thrown)).not.toContain('secret');
});

test('another database of the same server keeps everything else', () => {
  expect(withDatabaseName('postgres://u:p@/one?host=/run/ivc', 'two')).toBe('postgres://u:p@/two?host=/run/ivc');
  expect(parseDatabaseUrl(withDatabaseName('postgres://u:p@db:6000', 'a/b'))).toMatchObject({
    host: 'db',
    port: 6000,
    database: 'a/b',
    password: 'p',
  });
});

describe('what the URI leaves out', () => {
  let home: string;
  beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'ivc-home-'))));
  afterEach(() => rmSync(home, { recursive: true }));
  const passwordsOf = (text: string, mode = 0o600): NodeJS.ProcessEnv => {
    writeFileSync(join(home, '.pgpass'), text, { mode });
    return { HOME: home };
  };

  it("is what libpq's variables say", () => {
    const env = { HOME: home, PGHOST: 'db', PGPORT: '6000', PGUSER: 'u', PGDATABASE: 'ivc', PGPASSWORD: 'p' };
    const found = { host: 'db', port: 6000, user: 'u', database: 'ivc', password: 'p' };
    expect(parseDatabaseUrl('postgres://', env)).toMatchObject(found);
    expect(parseDatabaseUrl('postgres://v:q@other:7000/two', env)).toMatchObject({
      host: 'other',
      port: 7000,
      user: 'v',
      database: 'two',
      password: 'q',
    });
  });

  it('a password is in a file of its own, or in the one of all passwords', () => {
    writeFileSync(join(home, 'one'), 'p:w\n');
    expect(parseDatabaseUrl('postgres://u@db/ivc', { PGPASSWORD_FILE: join(home, 'one') }).password).toBe('p:w');
    expect(() => parseDatabaseUrl('postgres://u@db/ivc', { PGPASSWORD_FILE: join(home, 'two') })).toThrow(
      'PGPASSWORD_FILE',
    );
    const env = passwordsOf(
      '# ours\nother:*:*:*:no\ndb:5432:ivc:u\\:x:p\\\\w\\:1\n*:*:*:*:any\nlocalhost:*:*:*:late\n',
    );
    expect(parseDatabaseUrl('postgres://u%3Ax@db/ivc', env).password).toBe('p\\w:1');
    expect(parseDatabaseUrl('postgres://u@db/ivc', env).password).toBe('any');
    expect(parseDatabaseUrl('postgres://u:given@db/ivc', env).password).toBe('given');
  });

  it('a socket is localhost in that file, and one that others may read is passed over', () => {
    const line = 'localhost:*:*:u:p\n';
    expect(parseDatabaseUrl('postgres://u@/ivc?host=/run/ivc', passwordsOf(line)).password).toBe('p');
    rmSync(join(home, '.pgpass'));
    expect(parseDatabaseUrl('postgres://u@/ivc?host=/run/ivc', passwordsOf(line, 0o644)).password).toBeUndefined();
  });
});

describe('TLS', () => {
  let home: string;
  let env: NodeJS.ProcessEnv;
  const file = (name: string): string => {
    const path = join(home, name);
    writeFileSync(path, '');
    return path;
  };
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'ivc-home-'));
    mkdirSync(join(home, '.postgresql'));
    env = { HOME: home };
  });
  afterEach(() => rmSync(home, { recursive: true }));

  it.each(['disable', 'allow', 'prefer', 'require', 'verify-full'])('sslmode=%s is taken', (mode) => {
    expect(parseDatabaseUrl(`postgres://db/ivc?sslmode=${mode}`, env).tls).toEqual({ mode });
    expect(parseDatabaseUrl('postgres://db/ivc', { ...env, PGSSLMODE: mode }).tls).toEqual({ mode });
  });

  it('files are named by the URI, then by the environment, then found where libpq has them', () => {
    const found = { rootCertificate: file('.postgresql/root.crt') };
    expect(parseDatabaseUrl('postgres://db/ivc?sslmode=verify-ca', env).tls).toEqual({ mode: 'verify-ca', ...found });
    const named = { ...env, PGSSLROOTCERT: file('ca'), PGSSLCERT: file('cert'), PGSSLKEY: file('key') };
    const { tls } = parseDatabaseUrl('postgres://db/ivc', named);
    expect(tls).toEqual({
      mode: 'prefer',
      rootCertificate: join(home, 'ca'),
      certificate: join(home, 'cert'),
      key: join(home, 'key'),
    });
    const other = parseDatabaseUrl(`postgres://db/ivc?sslrootcert=${file('other')}`, named).tls;
    expect(other.rootCertificate).toBe(join(home, 'other'));
  });

  it('sslrootcert=system means verify-full', () => {
    expect(parseDatabaseUrl('postgres://db/ivc?sslrootcert=system', env).tls).toEqual({
      mode: 'verify-full',
      rootCertificate: 'system',
    });
  });

  it.each([
    ['sslmode=verify-ca', 'sslmode=verify-ca without a root certificate'],
    ['sslrootcert=/nowhere/ca.crt', 'sslrootcert=/nowhere/ca.crt'],
    ['sslrootcert=system&sslmode=require', 'sslrootcert=system with sslmode=require'],
    ['sslcert=/nowhere/client.crt', 'sslcert=/nowhere/client.crt'],
    ['connect_timeout=soon', 'connect_timeout=soon'],
    ['pgbouncer=maybe', 'pgbouncer=maybe'],
  ])('%s is refused', (query, value) => {
    expect(() => parseDatabaseUrl(`postgres://db/ivc?${query}`, env)).toThrow(`database.url: got ${value},`);
  });
});
