import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { createVolumes } from '../../../client/volumes';
import { reconcile } from '../../../client/reconcile';
import { warmCache } from '../../../client/refresh';
import type { Image, SignatureRequirement } from '../../../workflows/contract/image';
import { makeAuthority, makeSigner, sign, writeTrustStore, type Signer } from '../../support/images/signers';
import { makeSampleImage, uploadSample, type SampleImage, type SampleOptions } from '../../support/images/sample-image';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const signers = {} as Record<'rsa' | 'ecc' | 'dsa' | 'ended' | 'stranger' | 'outsider', Signer>;
const trust: { certificates: string | Record<string, string>; authorities: string[] } = {
  certificates: '',
  authorities: [],
};

const flow = useStack(({ directory }) => {
  const root = makeAuthority({ directory, name: 'root' });
  const by = makeAuthority({ directory, name: 'between', by: root });
  signers.rsa = makeSigner({ directory, name: 'rsa', by, keyType: 'RSA-PSS' });
  signers.ecc = makeSigner({ directory, name: 'ecc', by, keyType: 'ECC_SECP521R1' });
  signers.dsa = makeSigner({ directory, name: 'dsa', by, keyType: 'DSA' });
  signers.ended = makeSigner({ directory, name: 'ended', by, keyType: 'RSA-PSS', days: 0 });
  // In the trust store, but no authority of ours has made it.
  signers.outsider = makeSigner({ directory, name: 'outsider', keyType: 'RSA-PSS' });
  signers.stranger = makeSigner({ directory, name: 'stranger', by, keyType: 'RSA-PSS' });
  const { stranger: _stranger, ...known } = signers;
  trust.certificates = writeTrustStore(join(directory, 'trust'), Object.values(known));
  trust.authorities = [root.certificate, by.certificate];
  return Promise.resolve({ config: { policy: { signatures: { require: 'when-present', ...trust } } } });
});

/** Of one image service, whose stack goes on. */
const startAgainWith = async (signatures: { require: SignatureRequirement } & Partial<typeof trust>) => {
  const path = flow.stack.environment['IVC_CONFIG'] ?? '';
  const config = parse(readFileSync(path, 'utf8')) as { policy: object };
  config.policy = { signatures };
  writeFileSync(path, stringify(config));
  for (const worker of flow.stack.workers.splice(0)) await worker.stop();
  await flow.stack.startWorker();
};

const makeSample = (name: string, options: Partial<SampleOptions> = {}) =>
  makeSampleImage({ directory: flow.directory, name, ...options });
const upload = (sample: SampleImage, properties: Record<string, string> = {}) =>
  uploadSample(flow.stack.images, sample, { properties });
const signed = (sample: SampleImage, signer: Signer, hashMethod?: string) =>
  sign(signer, readFileSync(sample.path), { hashMethod });
/** By a key that is trusted, of other bytes. */
const badlySigned = (signer: Signer) => sign(signer, Buffer.from('other bytes'));

const downloadsOf = async ({ id }: Image) => (await flow.stack.imageService.counters(id)).downloads;
const entriesOf = async ({ hashValue }: Image) =>
  (await flow.stack.inventory.entries()).filter((entry) => entry.hashValue === hashValue);
const metadataOf = async (volumeId: string) => (await flow.volume(volumeId))?.imageMetadata;

const refusal = ({ id: imageId }: Image, more: object = { bytesVerified: true }) => ({
  type: 'ImageRefused',
  exitCode: 4,
  details: expect.objectContaining({ imageId, rule: 'signature', ...more }),
});

afterEach(() => expectCleanSlate(flow.stack));

describe('an image with a signature', () => {
  it.each([
    ['a qcow2, unpacked while it comes', { by: 'rsa', hashMethod: 'SHA-256' }, {}],
    ['a raw image, streamed', { by: 'ecc', hashMethod: 'SHA-512' }, { diskFormat: 'raw' }],
    ['a qcow2 that qemu-img converts', { by: 'dsa', hashMethod: 'SHA-224' }, { subclusters: true }],
  ] as const)('is cached when its bytes have it, in one download: %s', async (what, { by, hashMethod }, options) => {
    const sample = await makeSample(what.replaceAll(/\W+/g, '-'), options);
    const image = await upload(sample, signed(sample, signers[by], hashMethod));
    const miss = await flow.create(image);
    expect(miss).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(sample, miss);
    const hit = await flow.create(image);
    expect(hit).toMatchObject({ outcome: 'hit' });
    expect(await downloadsOf(image)).toBe(1);
    expect(await metadataOf(hit.volumeId)).toMatchObject({ signature_verified: 'True' });
    const { id: certificateId, keyType } = signers[by];
    expect(await entriesOf(image)).toMatchObject([
      { state: 'ready', verdict: { signature: { certificateId, keyType, hashMethod, subject: `CN=${by}` } } },
    ]);
  });

  it.each([
    ['a qcow2, unpacked while it comes', {}],
    ['a raw image, streamed', { diskFormat: 'raw' }],
    ['a qcow2 that qemu-img converts', { subclusters: true }],
  ] as const)(
    'is refused when its bytes do not have it, once for all, and leaves nothing: %s',
    async (what, options) => {
      const sample = await makeSample(`bad-${what.replaceAll(/\W+/g, '-')}`, options);
      const image = await upload(sample, badlySigned(signers.rsa));
      await expect(flow.create(image)).rejects.toMatchObject(refusal(image));
      expect(await entriesOf(image)).toEqual([]);
      await expectCleanSlate(flow.stack);
      const asked = await downloadsOf(image);
      await expect(flow.create(image)).rejects.toMatchObject(refusal(image));
      const { cache, backend } = flow.stack;
      const warmed = await warmCache(cache, { imageIds: [image.id], backends: [backend] }, { wait: true });
      expect(warmed.result).toMatchObject({ warmed: [{ outcome: 'failed' }] });
      expect(await downloadsOf(image)).toBe(asked);
    },
  );

  it('is refused by its record alone when nobody could verify it, though its bytes are cached', async () => {
    const sample = await makeSample('by-record');
    await flow.create(await upload(sample));
    await flow.create(await upload(sample, signed(sample, signers.rsa)));
    const { img_signature: _signature, ...partial } = signed(sample, signers.rsa);
    const refused = [
      signed(sample, signers.stranger),
      signed(sample, signers.ended),
      signed(sample, signers.outsider),
      { ...signed(sample, signers.rsa), img_signature_hash_method: 'MD5' },
      partial,
    ];
    for (const properties of refused) {
      const image = await upload(sample, properties);
      const volumeId = randomUUID();
      await expect(flow.create(image, { volumeId })).rejects.toMatchObject(refusal(image, {}));
      expect(await flow.volume(volumeId)).toBeUndefined();
      expect(await downloadsOf(image)).toBe(0);
    }
  });

  it('is verified for its own record, whatever is cached of the same bytes', async () => {
    const sample = await makeSample('same-bytes');
    const good = await upload(sample, signed(sample, signers.rsa));
    expect(await flow.create(good)).toMatchObject({ outcome: 'miss' });
    const bad = await upload(sample, badlySigned(signers.rsa));
    await expect(flow.create(bad)).rejects.toMatchObject(refusal(bad));
    const again = await upload(sample, {
      ...signed(sample, signers.rsa),
      img_signature: good.properties['img_signature'] ?? '',
    });
    expect(await flow.create(again)).toMatchObject({ outcome: 'hit' });
    const unsigned = await upload(sample);
    const { outcome, volumeId } = await flow.create(unsigned);
    expect(outcome).toBe('miss');
    expect(await metadataOf(volumeId)).toMatchObject({ signature_verified: 'False' });
    expect(await entriesOf(good)).toHaveLength(2);
  });

  it.each([['qcow2'], ['raw']] as const)(
    'is verified in a herd of images with the same bytes, good, bad and without one, as %s',
    async (diskFormat) => {
      const sample = await makeSample(`herd-${diskFormat}`, { diskFormat });
      const good = await upload(sample, signed(sample, signers.rsa));
      const bad = await upload(sample, badlySigned(signers.ecc));
      const unsigned = await upload(sample);
      const outcomesOf = async (image: Image) =>
        (await Promise.allSettled([1, 2, 3].map(() => flow.create(image)))).map(({ status }) => status);
      const outcomes = await Promise.all([good, bad, unsigned].map(outcomesOf));
      const [all, none] = [Array<string>(3).fill('fulfilled'), Array<string>(3).fill('rejected')];
      expect(outcomes).toEqual([all, none, all]);
    },
  );

  it('is verified where the cache is not used', async () => {
    const sample = await makeSample('bypassed');
    const good = await upload(sample, signed(sample, signers.ecc));
    const made = await flow.create(good, { bypassCache: true });
    expect(made).toMatchObject({ outcome: 'bypassed' });
    await flow.expectGuestBytes(sample, made);
    const bad = await upload(sample, badlySigned(signers.ecc));
    await expect(flow.create(bad, { bypassCache: true })).rejects.toMatchObject(refusal(bad));
  });

  it('is verified for many volumes at once', async () => {
    const sample = await makeSample('bulk');
    const { cache, backend } = flow.stack;
    const createMany = (image: Image) => createVolumes(cache, { imageId: image.id, backend, count: 3 }, { wait: true });
    const made = await createMany(await upload(sample, signed(sample, signers.dsa)));
    expect(made.result.volumes).toHaveLength(3);
    const bad = await upload(sample, badlySigned(signers.dsa));
    await expect(createMany(bad)).rejects.toMatchObject(refusal(bad));
  });
});

describe('a policy that changes', () => {
  it('asks again for what was refused, refuses at once what it does not trust any more, and retires it', async () => {
    const sample = await makeSample('changed');
    const plain = await makeSample('changed-plain');
    const unsigned = await upload(plain);
    const good = await upload(sample, signed(sample, signers.rsa));
    const wronglyCalled = await upload(sample, {
      ...signed(sample, signers.stranger),
      img_signature_certificate_uuid: signers.rsa.id,
    });
    await flow.create(unsigned);
    await flow.create(good);
    await expect(flow.create(wronglyCalled)).rejects.toMatchObject(refusal(wronglyCalled));

    // The certificate of another key takes over the id.
    const certificates = { [signers.rsa.id]: signers.stranger.certificate };
    await startAgainWith({ require: 'always', ...trust, certificates });
    expect(await flow.create(wronglyCalled)).toMatchObject({ outcome: 'miss' });
    await expect(flow.create(good)).rejects.toMatchObject(refusal(good));
    await expect(flow.create(unsigned)).rejects.toMatchObject(refusal(unsigned, {}));
    const { cache, backend, inventory } = flow.stack;
    const [before] = await entriesOf(unsigned);
    const { result } = await reconcile(cache, { backend }, { wait: true });
    expect(result.findings).toContainEqual(
      expect.objectContaining({ kind: 'entry-against-policy', object: before?.id, action: 'repaired' }),
    );
    const states = (await entriesOf(good)).map(({ state, verdict }) => [state, verdict?.signature?.subject]);
    expect(states).toContainEqual(['ready', 'CN=stranger']);
    expect(states).not.toContainEqual(['ready', 'CN=rsa']);
    expect(await inventory.stateOf(before?.id ?? '')).not.toBe('ready');

    await startAgainWith({ require: 'off' });
    const off = await flow.create(good);
    expect(off).toMatchObject({ outcome: 'miss' });
    expect(await metadataOf(off.volumeId)).not.toHaveProperty('signature_verified');
  });

  it('starts no worker whose trust store cannot be read', async () => {
    const path = flow.stack.environment['IVC_CONFIG'] ?? '';
    const before = readFileSync(path, 'utf8');
    const config = parse(before) as { policy: object };
    config.policy = { signatures: { require: 'always', certificates: join(flow.directory, 'nowhere') } };
    writeFileSync(path, stringify(config));
    const { ready } = await flow.stack.spawnWorker({ roles: ['control'] });
    await expect(ready).rejects.toThrow(/policy\.signatures: .*nowhere/);
    writeFileSync(path, before);
  });
});
