import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { imageSchema } from '../../../../activities/glance/schema';
import { openSignaturePolicy } from '../../../../activities/image/signature-policy';
import { haveSignature } from '../../../../activities/image/verify-signature';
import { cacheKeyOf } from '../../../../activities/kit/cache-key';
import { Failure } from '../../../../workflows/contract/failures';
import { MiB } from '../../../../workflows/contract/bytes';
import type { Image, SignatureRequirement } from '../../../../workflows/contract/image';
import { hashMethods, keyTypes, makeSigner, sign, type Signer } from '../../../support/images/signers';

const directory = mkdtempSync(join(tmpdir(), 'ivc-signed-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const signers = new Map<string, Signer>();
const signerOf = (keyType: string): Signer => {
  const signer = signers.get(keyType);
  if (signer === undefined) throw new Error(`no signer has a key of type ${keyType}`);
  return signer;
};
beforeAll(() => {
  for (const keyType of keyTypes) signers.set(keyType, makeSigner({ directory, name: keyType, keyType }));
});

/** More than is read at once, and no whole number of it. */
const bytes = randomBytes(5 * MiB + 17);
const altered = Buffer.from(bytes);
altered.writeUInt8(altered.readUInt8(4 * MiB) ^ 1, 4 * MiB);

const imageOf = (properties: Record<string, string>): Image =>
  imageSchema.parse({
    ...properties,
    id: '0f8fad5b-d9cb-469f-a165-70867728950e',
    status: 'active',
    container_format: 'bare',
    disk_format: 'raw',
    os_hash_algo: 'sha512',
    os_hash_value: 'ff',
    created_at: '2026-01-01T00:00:00Z',
    updated_at: '2026-01-01T00:00:00Z',
  });

const policyOf = (require: SignatureRequirement = 'when-present', known: readonly Signer[] = [...signers.values()]) =>
  openSignaturePolicy({
    require,
    certificates: Object.fromEntries(known.map(({ id, certificate }) => [id, certificate])),
  });

const quiet = { report: () => undefined, signal: new AbortController().signal };

async function verify(properties: Record<string, string>, content = bytes): Promise<boolean> {
  const signature = policyOf().signatureOf(imageOf(properties));
  if (signature === undefined) throw new Error('the image has no signature');
  const read = (offset: number, lengthBytes: number) => Promise.resolve(content.subarray(offset, offset + lengthBytes));
  return await haveSignature(signature.check, { sizeBytes: content.length, read }, quiet);
}

function refusalOf(properties: Record<string, string>, policy = policyOf()): unknown {
  try {
    return policy.signatureOf(imageOf(properties));
  } catch (error) {
    return error instanceof Failure ? { type: error.type, ...error.details } : error;
  }
}

describe.each(keyTypes)('a signature by a key of type %s', (keyType) => {
  it.each(hashMethods)('is verified over %s, and over no other bytes', async (hashMethod) => {
    const properties = sign(signerOf(keyType), bytes, { hashMethod });
    expect(await verify(properties)).toBe(true);
    expect(await verify(properties, altered)).toBe(false);
    expect(await verify(properties, bytes.subarray(0, -1))).toBe(false);
  });

  it('is none of another key, of another hash, nor of what is no signature', async () => {
    const properties = sign(signerOf(keyType), bytes);
    const other = makeSigner({ directory, name: 'other', keyType });
    expect(await verify({ ...properties, img_signature: sign(other, bytes)['img_signature'] ?? '' })).toBe(false);
    expect(await verify({ ...properties, img_signature_hash_method: 'SHA-512' })).toBe(false);
    expect(await verify({ ...properties, img_signature: randomBytes(32).toString('base64') })).toBe(false);
  });
});

it('wants the longest salt of RSA-PSS, as OpenStack does', async () => {
  const longest = 2048 / 8 - 32 - 2;
  expect(await verify(sign(signerOf('RSA-PSS'), bytes, { saltLength: longest }))).toBe(true);
  expect(await verify(sign(signerOf('RSA-PSS'), bytes, { saltLength: 32 }))).toBe(false);
});

it('takes base64 in lines', async () => {
  const properties = sign(signerOf('RSA-PSS'), bytes);
  const lines = properties['img_signature']?.replaceAll(/.{76}/g, '$&\n') ?? '';
  expect(await verify({ ...properties, img_signature: `${lines}\n` })).toBe(true);
});

it.each([
  ['an unknown certificate', { img_signature_certificate_uuid: '0f8fad5b-d9cb-469f-a165-70867728950e' }],
  ['an unknown hash method', { img_signature_hash_method: 'SHA-1' }],
  ['a hash method that means something to JavaScript', { img_signature_hash_method: 'constructor' }],
  ['an unknown key type', { img_signature_key_type: 'RSA' }],
  ['a key type of another key', { img_signature_key_type: 'DSA' }],
  ['a curve for an RSA key', { img_signature_key_type: 'ECC_SECP384R1' }],
  ['a signature that is no base64', { img_signature: 'no base64!' }],
  ['half of a signature’s base64', { img_signature: 'AAA' }],
  ['an empty signature', { img_signature: '' }],
])('refuses %s before a byte is read', (_what, changed) => {
  const properties = { ...sign(signerOf('RSA-PSS'), bytes), ...changed };
  expect(refusalOf(properties)).toMatchObject({ type: 'ImageRefused', rule: 'signature' });
});

it('refuses an image that has some of the properties', () => {
  const properties = sign(signerOf('RSA-PSS'), bytes);
  for (const missing of Object.keys(properties)) {
    const { [missing]: _missing, ...rest } = properties;
    const found = `no ${missing}`;
    expect(refusalOf(rest)).toMatchObject({ type: 'ImageRefused', rule: 'signature', found });
  }
});

it('refuses a certificate that has ended', () => {
  const ended = makeSigner({ directory, name: 'ended', keyType: 'RSA-PSS', days: 0 });
  expect(refusalOf(sign(ended, bytes), policyOf('when-present', [ended]))).toMatchObject({ rule: 'signature' });
});

it('refuses an image without a signature where each must have one, and looks at none where it is off', () => {
  const signed = sign(signerOf('DSA'), bytes);
  expect(refusalOf({}, policyOf('always'))).toMatchObject({ type: 'ImageRefused', rule: 'signature' });
  expect(refusalOf({})).toBeUndefined();
  expect(refusalOf({ ...signed, img_signature: '!' }, policyOf('off'))).toBeUndefined();
  expect(policyOf('always').signatureOf(imageOf(signed))).toMatchObject({
    verdict: { signature: { certificateId: signed['img_signature_certificate_uuid'], keyType: 'DSA' } },
  });
});

it('keeps images with the same bytes and other signatures apart in the cache', () => {
  const [rsa, dsa] = [sign(signerOf('RSA-PSS'), bytes), sign(signerOf('DSA'), bytes)];
  const keyOf = (properties: Record<string, string>) => {
    const image = imageOf(properties);
    return cacheKeyOf(image, policyOf().signatureOf(image));
  };
  const keys = [keyOf({}), keyOf(rsa), keyOf(dsa), keyOf({ ...rsa, img_signature: 'AAAA' })];
  expect(new Set(keys.map(({ short }) => short)).size).toBe(keys.length);
  expect(keyOf({ ...rsa, os_distro: 'debian' })).toEqual(keyOf(rsa));
  expect(keyOf({})).toEqual(cacheKeyOf(imageOf(rsa)));
});

it('has a version that changes with what is asked and with who is trusted, and none while it is off', () => {
  const [first, second] = [signerOf('RSA-PSS'), signerOf('DSA')];
  const versions = [
    policyOf('always', [first]),
    policyOf('when-present', [first]),
    policyOf('always', [first, second]),
  ];
  expect(new Set(versions.map(({ version }) => version)).size).toBe(versions.length);
  expect(policyOf('off').version).toBeUndefined();
});

it('finds what no create can use any more', () => {
  const verdictOf = (signer: Signer) => policyOf().signatureOf(imageOf(sign(signer, bytes)))?.verdict ?? null;
  const [rsa, dsa] = [signerOf('RSA-PSS'), signerOf('DSA')];
  const signed = { isSigned: true, verdict: verdictOf(rsa) };
  const unsigned = { isSigned: false, verdict: null };
  expect(policyOf('always').findBreach(signed)).toBeUndefined();
  expect(policyOf('always').findBreach(unsigned)).toEqual(expect.any(String));
  expect(policyOf('when-present').findBreach(unsigned)).toBeUndefined();
  expect(policyOf('always', [dsa]).findBreach(signed)).toEqual(expect.any(String));
  // Another certificate under the same id.
  expect(policyOf('always', [{ ...dsa, id: rsa.id }]).findBreach(signed)).toEqual(expect.any(String));
  expect(policyOf('off').findBreach(signed)).toEqual(expect.any(String));
  expect(policyOf('off').findBreach(unsigned)).toBeUndefined();
});
