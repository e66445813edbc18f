import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkSignatures } from '../../../../../client/cli/doctor/trusted-signers';
import type { Config } from '../../../../../client/config/schema';
import { makeSigner, writeTrustStore } from '../../../../support/images/signers';

const directory = mkdtempSync(join(tmpdir(), 'ivc-doctor-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const keyType = 'ECC_SECP384R1';
const lasting = makeSigner({ directory, name: 'lasting', keyType, days: 90 });
const ending = makeSigner({ directory, name: 'ending', keyType, days: 12 });
const ended = makeSigner({ directory, name: 'ended', keyType, days: 0 });

const check = (signatures: Partial<Config['policy']['signatures']>) =>
  checkSignatures({
    settings: { loaded: { config: { policy: { signatures: { require: 'always', authorities: [], ...signatures } } } } },
  } as unknown as Parameters<typeof checkSignatures>[0]);

it.each([
  ['nothing is verified', { require: 'off' }, 'ok'],
  ['all certificates are trusted', { certificates: { [lasting.id]: lasting.certificate } }, 'ok'],
  [
    'one ends soon',
    { certificates: { [lasting.id]: lasting.certificate, [ending.id]: ending.certificate } },
    'warning',
  ],
  ['one has ended', { certificates: { [ended.id]: ended.certificate } }, 'warning'],
  [
    'no authority has issued it',
    { certificates: { [lasting.id]: lasting.certificate }, authorities: [ending.certificate] },
    'warning',
  ],
  ['there is none', { certificates: writeTrustStore(join(directory, 'empty'), []) }, 'warning'],
  ['it cannot be read', { certificates: join(directory, 'absent') }, 'fault'],
] as const)('is told of a trust store in which %s', (_what, signatures, state) => {
  expect(check(signatures as never)).toMatchObject({ check: 'image signatures', state });
});

it('names the certificates that are not well', () => {
  const certificates = Object.fromEntries([lasting, ending, ended].map(({ id, certificate }) => [id, certificate]));
  const { found } = check({ certificates });
  expect(found).toContain(ending.id);
  expect(found).toContain(ended.id);
  expect(found).not.toContain(lasting.id);
});
