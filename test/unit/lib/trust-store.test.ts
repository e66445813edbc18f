import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readTrustStore } from '../../../lib/trust-store';
import { makeAuthority, makeSigner, writeTrustStore, type Authority, type Signer } from '../../support/images/signers';

const DAY_MS = 86_400_000;
const directory = mkdtempSync(join(tmpdir(), 'ivc-trust-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let root: Authority;
let between: Authority;
let signer: Signer;
const keyType = 'ECC_SECP384R1';

beforeAll(() => {
  root = makeAuthority({ directory, name: 'root', days: 9 });
  between = makeAuthority({ directory, name: 'between', by: root, days: 5 });
  signer = makeSigner({ directory, name: 'signer', by: between, keyType, days: 3 });
});

const storeOf = (own: Signer, authorities: string[] = []) =>
  readTrustStore({ certificates: { [own.id]: own.certificate }, authorities });
const findIn = (own: Signer, authorities: string[], inDays = 0) =>
  storeOf(own, authorities).find(own.id, Date.now() + inDays * DAY_MS);

const bundle = (...of: Authority[]): string => {
  const path = join(directory, `${of.map(({ name }) => name).join('-')}.pem`);
  writeFileSync(path, of.map(({ certificate }) => `text before\n${readFileSync(certificate, 'utf8')}`).join(''));
  return path;
};

it('finds a certificate by its id, whatever its case, whose chain leads over what is between to a root', () => {
  for (const authorities of [[root.certificate, between.certificate], [bundle(between, root)]]) {
    const store = storeOf(signer, authorities);
    const trusted = { kind: 'trusted', signer: { id: signer.id, subject: 'CN=signer' } };
    expect(store.find(signer.id.toUpperCase())).toMatchObject(trusted);
    expect(store.find(signer.id)).toMatchObject(trusted);
    expect(store.ids).toEqual([signer.id]);
  }
});

it('knows nobody else', () => {
  expect(storeOf(signer).find('another')).toMatchObject({ kind: 'unknown' });
});

it('reads a directory of files that are called after their ids', () => {
  const certificates = writeTrustStore(join(directory, 'store'), [signer]);
  writeFileSync(join(certificates, 'README'), 'no certificate');
  const store = readTrustStore({ certificates, authorities: [] });
  expect(store.ids).toEqual([signer.id]);
  expect(store.find(signer.id)).toMatchObject({ kind: 'trusted' });
});

it.each([
  ['no root', () => [between.certificate]],
  ['nothing between', () => [root.certificate]],
  [
    'another root of the same name',
    () => [between.certificate, makeAuthority({ directory: join(directory, 'evil'), name: 'root' }).certificate],
  ],
  [
    'another one between of the same name',
    () => [
      root.certificate,
      makeAuthority({ directory: join(directory, 'evil'), name: 'between', by: root }).certificate,
    ],
  ],
])('trusts no certificate whose chain has %s', (_what, authorities) => {
  expect(findIn(signer, authorities())).toMatchObject({ kind: 'untrusted' });
});

it('takes nobody for an authority who is none', () => {
  const [mayNotSign, isNoAuthority] = [
    'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n',
    'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyCertSign\n',
  ].map((extensions, index) => {
    const name = `pretender-${index}`;
    const pretender = makeSigner({ directory, name, by: root, keyType, extensions });
    const by = { name, certificate: pretender.certificate, key: join(directory, `${name}.key`) };
    const own = makeSigner({ directory, name: `of-${name}`, by, keyType });
    return findIn(own, [root.certificate, pretender.certificate]);
  });
  expect(mayNotSign).toMatchObject({ kind: 'untrusted' });
  expect(isNoAuthority).toMatchObject({ kind: 'untrusted' });
});

it.each([
  ['begins', -1],
  ['ends', 4],
])('trusts no certificate before it begins or after it ends: %s', (_what, inDays) => {
  const authorities = [root.certificate, between.certificate];
  expect(findIn(signer, authorities, 1)).toMatchObject({ kind: 'trusted' });
  expect(findIn(signer, authorities, inDays)).toMatchObject({ kind: 'untrusted' });
  expect(findIn(signer, [], inDays)).toMatchObject({ kind: 'untrusted' });
});

it('trusts nobody whose authority has ended', () => {
  const long = makeSigner({ directory, name: 'long', by: between, keyType, days: 8 });
  expect(findIn(long, [root.certificate, between.certificate], 4)).toMatchObject({ kind: 'trusted' });
  expect(findIn(long, [root.certificate, between.certificate], 6)).toMatchObject({ kind: 'untrusted' });
});

it('takes each certificate for itself where there are no authorities', () => {
  expect(findIn(signer, [])).toMatchObject({ kind: 'trusted' });
});

it('has another version with every change', () => {
  const other = makeSigner({ directory, name: 'other', keyType });
  const versions = [
    storeOf(signer),
    storeOf(signer, [root.certificate]),
    storeOf(signer, [root.certificate, between.certificate]),
    storeOf(other),
    storeOf({ ...other, id: signer.id }),
    readTrustStore({ certificates: {}, authorities: [] }),
  ].map(({ version }) => version);
  expect(new Set(versions).size).toBe(versions.length);
  expect(storeOf(signer, [between.certificate, root.certificate]).version).toBe(versions[2]);
});

it('names the file that is no certificate, or is not there', () => {
  const path = join(directory, 'text');
  writeFileSync(path, 'no certificate');
  const broken = join(directory, 'broken');
  writeFileSync(broken, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  for (const file of [path, broken, join(directory, 'absent')]) {
    expect(() => readTrustStore({ certificates: { [signer.id]: file }, authorities: [] })).toThrow(file);
    expect(() => readTrustStore({ certificates: {}, authorities: [file] })).toThrow(file);
  }
  expect(() => readTrustStore({ certificates: join(directory, 'absent'), authorities: [] })).toThrow('absent');
});
