import { execFileSync } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageSchema } from '../../activities/glance/schema';
import { openSignaturePolicy } from '../../activities/image/signature-policy';
import { haveSignature } from '../../activities/image/verify-signature';
import { isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import { makeSampleImage, uploadSample, type SampleImage } from '../support/images/sample-image';
import {
  hashMethods,
  keyTypes,
  makeAuthority,
  makeSigner,
  sign,
  writeTrustStore,
  type Signer,
} from '../support/images/signers';
import { runOpenssl } from '../support/machine/certificates';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { expectCleanSlate, useStack } from '../support/stack/flows';
import { refreshFlows } from '../support/stack/refresh';

const START_TIMEOUT_MS = 300_000;

let glance: RealGlance;
let signer: Signer;
const flow = useStack(async ({ directory, after }) => {
  glance = await startRealGlance();
  after(() => glance.stop());
  const root = makeAuthority({ directory, name: 'root' });
  signer = makeSigner({ directory, name: 'signer', by: root, keyType: 'RSA-PSS' });
  const certificates = writeTrustStore(join(directory, 'trust'), [signer]);
  const signatures = { require: 'always', certificates, authorities: [root.certificate] };
  return { imagesEndpoint: glance.endpoint, config: { policy: { signatures } } };
}, START_TIMEOUT_MS);

const flows = refreshFlows(flow);

/** Glance verifies at upload itself, by a key manager that this one does not have; not when the properties come later. */
async function publish(sample: SampleImage, properties: Record<string, string>): Promise<Image> {
  const image = await uploadSample(flow.stack.images, sample);
  const changes = Object.entries(properties).map(([name, value]) => ({ op: 'add', path: `/${name}`, value }));
  if (changes.length > 0) await flows.edit(image, changes);
  return await flow.stack.images.getImage(image.id);
}

/** As the documentation has it. */
function signAsOperators(path: string): Record<string, string> {
  const pss = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:max'];
  runOpenssl(flow.directory, 'dgst', '-sha256', '-sign', 'signer.key', ...pss, '-out', `${path}.signature`, path);
  return {
    img_signature: execFileSync('base64', ['-w', '0', `${path}.signature`], { encoding: 'utf8' }),
    img_signature_hash_method: 'SHA-256',
    img_signature_key_type: 'RSA-PSS',
    img_signature_certificate_uuid: signer.id,
  };
}

describe('images of a real Glance', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it.each([['qcow2'], ['raw']] as const)(
    'are used with their signature, as %s, and refused without it',
    async (diskFormat) => {
      const sample = await makeSampleImage({ directory: flow.directory, name: `signed-${diskFormat}`, diskFormat });
      const properties = signAsOperators(sample.path);
      const image = await publish(sample, properties);
      const made = await flow.create(image);
      expect(made).toMatchObject({ outcome: 'miss' });
      await flow.expectGuestBytes(sample, made);
      expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
      expect((await flow.volume(made.volumeId))?.imageMetadata).toMatchObject({
        ...properties,
        signature_verified: 'True',
      });
      const refused = [{}, sign(signer, randomBytes(8))];
      for (const other of refused) {
        const bad = await publish(sample, other);
        await expect(flow.create(bad)).rejects.toMatchObject({ type: 'ImageRefused', details: { rule: 'signature' } });
      }
    },
  );
});

/** Whether OpenStack's own library, which comes with Glance, takes each. */
const ORACLE = `
import base64, json, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cursive import signature_utils as utils

def takes(case):
    key_type = utils.SignatureKeyType.lookup(case['keyType'])
    key = load_pem_public_key(case['publicKey'].encode())
    if not isinstance(key, key_type.public_key_type):
        return False
    signature = utils.get_signature(case['signature'])
    verifier = key_type.create_verifier(signature, utils.get_hash_method(case['hashMethod']), key)
    verifier.update(base64.b64decode(case['bytes']))
    try:
        verifier.verify()
    except InvalidSignature:
        return False
    return True

print(json.dumps([takes(case) for case in json.load(sys.stdin)]))
`;

it('OpenStack’s own library takes the same signatures, and no others', async () => {
  const directory = flow.directory;
  const own = keyTypes.map((keyType) => makeSigner({ directory, name: `oracle-${keyType}`, keyType }));
  const bytes = randomBytes(5000);
  const cases = own.flatMap((by) =>
    hashMethods.flatMap((hashMethod) => [
      { by, hashMethod, content: bytes, properties: sign(by, bytes, { hashMethod }) },
      { by, hashMethod, content: bytes.subarray(1), properties: sign(by, bytes, { hashMethod }) },
      // Of RSA-PSS the length of the salt; another curve's name is none of another key.
      { by, hashMethod, content: bytes, properties: sign(by, bytes, { hashMethod, saltLength: 20 }) },
      {
        by: { ...by, keyType: by.keyType.startsWith('ECC') ? 'ECC_SECT409R1' : 'ECC_SECP384R1' },
        hashMethod,
        content: bytes,
        properties: sign(by, bytes, { hashMethod }),
      },
    ]),
  );
  const asked = cases.map(({ by, hashMethod, content, properties }) => ({
    keyType: by.keyType,
    hashMethod,
    publicKey: new X509Certificate(readFileSync(by.certificate)).publicKey.export({ type: 'spki', format: 'pem' }),
    signature: properties['img_signature'],
    bytes: content.toString('base64'),
  }));
  const answer = execFileSync('/usr/bin/python3', ['-c', ORACLE], { input: JSON.stringify(asked), encoding: 'utf8' });
  const expected = JSON.parse(answer) as boolean[];
  expect(expected).toContain(true);
  expect(expected).toContain(false);

  const policy = openSignaturePolicy({
    require: 'always',
    certificates: Object.fromEntries(own.map(({ id, certificate }) => [id, certificate])),
  });
  const takes = async ({ by, content, properties }: (typeof cases)[number]): Promise<boolean> => {
    const image = imageSchema.parse({
      ...properties,
      img_signature_key_type: by.keyType,
      id: by.id,
      status: 'active',
      created_at: '2026-01-01T00:00:00Z',
      updated_at: '2026-01-01T00:00:00Z',
    });
    try {
      const signature = policy.signatureOf(image);
      const read = (offset: number, length: number) => Promise.resolve(content.subarray(offset, offset + length));
      const quiet = { report: () => undefined, signal: new AbortController().signal };
      return (
        signature !== undefined && (await haveSignature(signature.check, { sizeBytes: content.length, read }, quiet))
      );
    } catch (error) {
      if (isFailure(error, 'ImageRefused')) return false;
      throw error;
    }
  };
  const found = [];
  for (const each of cases) found.push(await takes(each));
  expect(found).toEqual(expected);
});
