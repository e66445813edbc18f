import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assertReachable, ensureExecutableFor } from '../../../../worker/stack/database-user';

const somebodyElse = { uid: 65_534, gid: 65_534 };
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-user-'));
  chmodSync(directory, 0o711);
  mkdirSync(join(directory, 'closed/server/bin'), { recursive: true });
  writeFileSync(join(directory, 'closed/server/bin/postgres'), 'binary');
  symlinkSync('bin/postgres', join(directory, 'closed/server/link'));
  chmodSync(join(directory, 'closed'), 0o700);
});
afterEach(() => rmSync(directory, { recursive: true }));

test('a data directory below a closed one is refused, and the closed one is named', () => {
  expect(() => assertReachable(join(directory, 'closed/server'), somebodyElse)).toThrow(
    ` ${join(directory, 'closed')} `,
  );
  expect(() => assertReachable(directory, somebodyElse)).not.toThrow();
  expect(() => assertReachable(join(directory, 'closed/server'), undefined)).not.toThrow();
});

test('a server below a closed directory is copied whole to where its user can run it, once', () => {
  const copy = join(directory, 'copy');
  const bin = join(directory, 'closed/server/bin');
  expect(ensureExecutableFor(somebodyElse, bin, copy)).toBe(join(copy, 'bin'));
  expect(readFileSync(join(copy, 'bin/postgres'), 'utf8')).toBe('binary');
  expect(readlinkSync(join(copy, 'link'))).toBe('bin/postgres');
  writeFileSync(join(bin, 'postgres'), 'changed');
  ensureExecutableFor(somebodyElse, bin, copy);
  expect(readFileSync(join(copy, 'bin/postgres'), 'utf8')).toBe('binary');
});

test('a server that can be run where it is stays there', () => {
  const bin = join(directory, 'closed/server/bin');
  expect(ensureExecutableFor(undefined, bin, join(directory, 'copy'))).toBe(bin);
});
