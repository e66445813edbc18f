import { parseDatabaseUrl, withDatabaseName } from '../../../db/url';
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
