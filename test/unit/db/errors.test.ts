import { toDatabaseFailure } from '../../../db/errors';
import { Failure, failures } from '../../../workflows/contract/failures';

const withCode = (code: string, more: object = {}) => Object.assign(new Error('something happened'), { code, ...more });

test.each([
  '08006',
  '08P01',
  '53300',
  '57P01',
  '57P03',
  '57P05',
  '57014',
  '25006',
  '55P03',
  '40001',
  '40P01',
  'ECONNREFUSED',
  'ECONNRESET',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECT_TIMEOUT',
])('%s passes by itself: DatabaseUnavailable', (code) => {
  expect(toDatabaseFailure(withCode(code))).toMatchObject({
    type: 'DatabaseUnavailable',
    details: { cause: 'something happened' },
  });
});

test('a socket that is not there is no connection, a file that is not there is something else', () => {
  expect(toDatabaseFailure(withCode('ENOENT', { syscall: 'connect' }))).toMatchObject({ type: 'DatabaseUnavailable' });
  expect(toDatabaseFailure(withCode('ENOENT', { syscall: 'open' }))).not.toBeInstanceOf(Failure);
});

test('a failed connection to each of several addresses is no connection', () => {
  expect(toDatabaseFailure(new AggregateError([withCode('ECONNREFUSED')], 'all failed'))).toMatchObject({
    type: 'DatabaseUnavailable',
  });
});

test.each(['22P05', '22021', '22003', '23502', '23514', '42601', '42P01', '42703'])(
  '%s never passes: DatabaseRefused, which is final',
  (code) => {
    const failure = toDatabaseFailure(withCode(code, { constraint_name: 'a_rule', parameters: ['private'] }));
    expect(failure).toMatchObject({
      type: 'DatabaseRefused',
      details: { sqlState: code, cause: `something happened (${code}, a_rule)` },
    });
    expect(failures.DatabaseRefused.retry).toBe(false);
    expect(JSON.stringify(failure)).not.toContain('private');
  },
);

test('a PgBouncer that does not know our limits says what the URL needs', () => {
  const refused = Object.assign(new Error('unsupported startup parameter: statement_timeout'), { code: '08P01' });
  expect(toDatabaseFailure(refused)).toMatchObject({
    type: 'InvalidRequest',
    details: { field: 'database.url', allowed: expect.stringContaining('pgbouncer=true') },
  });
});

test.each(['23505', '23503', '28P01', 'XX000'])('%s is a plain error that names its code', (code) => {
  const failure = toDatabaseFailure(withCode(code, { constraint_name: 'one_of_a_kind', parameters: ['private'] }));
  expect(failure).not.toBeInstanceOf(Failure);
  expect(failure).toMatchObject({ message: `something happened (${code}, one_of_a_kind)` });
  expect(failure).not.toHaveProperty('parameters');
});

test('the cause inside of a query builder’s error decides, and its parameters are left out', () => {
  const wrapped = new Error('Failed query: select $1\nparams: private', { cause: withCode('57P01') });
  expect(toDatabaseFailure(wrapped)).toMatchObject({
    type: 'DatabaseUnavailable',
    details: { cause: 'something happened' },
  });
  const broken = toDatabaseFailure(new Error('Failed query: select $1\nparams: private', { cause: withCode('23505') }));
  expect(String((broken as Error).stack)).not.toContain('private');
});

test('a failure and an error of ours go through as they are', () => {
  const ours = new Failure('VolumeDeleted', { volumeId: 'v' });
  const bug = new Error('a bug');
  expect(toDatabaseFailure(ours)).toBe(ours);
  expect(toDatabaseFailure(bug)).toBe(bug);
});
