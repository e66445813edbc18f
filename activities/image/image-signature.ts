import { createHash, type KeyObject } from 'node:crypto';
import type { FoundSigner } from '../../lib/trust-store';
import { Failure, type FailureDetails } from '../../workflows/contract/failures';
import type { EntryVerdict, Image } from '../../workflows/contract/image';
import { quote } from '../../workflows/contract/words';

/** Names of the image's properties. Source: OpenStack's `cursive`. */
const names = {
  signature: 'img_signature',
  hashMethod: 'img_signature_hash_method',
  keyType: 'img_signature_key_type',
  certificate: 'img_signature_certificate_uuid',
} as const;

/** As `cursive` names hashes, and node:crypto. */
const hashes: Record<string, { algorithm: string; bytes: number }> = {
  'SHA-224': { algorithm: 'sha224', bytes: 28 },
  'SHA-256': { algorithm: 'sha256', bytes: 32 },
  'SHA-384': { algorithm: 'sha384', bytes: 48 },
  'SHA-512': { algorithm: 'sha512', bytes: 64 },
};

/** The public keys that belong to each of `cursive`'s key types: as there, a curve's name is not compared with the key's. */
const keyTypes: Record<string, readonly string[]> = {
  'RSA-PSS': ['rsa', 'rsa-pss'],
  DSA: ['dsa'],
  ECC_SECT571K1: ['ec'],
  ECC_SECT409K1: ['ec'],
  ECC_SECT571R1: ['ec'],
  ECC_SECT409R1: ['ec'],
  ECC_SECP521R1: ['ec'],
  ECC_SECP384R1: ['ec'],
};

/** Everything needed to verify a signature over bytes, on any thread. */
export interface SignatureCheck {
  /** As node:crypto names it. */
  algorithm: string;
  /** SPKI in PEM. */
  publicKey: string;
  signature: Uint8Array;
  /** Of RSA-PSS, in bytes: the longest that fits, and no other, as in `cursive`. */
  saltLengthBytes?: number;
}

/** A signature by a certificate that is trusted at this moment. Whether the bytes have it is still to be verified. */
export interface TrustedSignature {
  check: SignatureCheck;
  /** Of what is verified, and nothing else: signature, hash and public key. The same bytes and the same id are the same verdict. */
  id: string;
  verdict: EntryVerdict;
}

/**
 * @param find in the trust store.
 * @returns undefined for an image that has none of the four properties.
 * @throws ImageRefused of a signature that nobody could verify: some properties are missing or unknown, the certificate is not trusted now (final).
 */
export function trustedSignatureOf(image: Image, find: (id: string) => FoundSigner): TrustedSignature | undefined {
  const given = Object.entries(names).map(([field, name]) => [field, image.properties[name]] as const);
  if (given.every(([, value]) => value === undefined)) return undefined;
  const missing = Object.values(names).filter((name) => image.properties[name] === undefined);
  if (missing.length > 0)
    throw signatureRefused(image, { found: `no ${missing.join(', ')}`, allowed: 'all four properties, or none' });
  const { hashMethod, keyType, certificate, signature } = Object.fromEntries(given) as Record<
    keyof typeof names,
    string
  >;
  const hash = own(hashes, hashMethod);
  if (hash === undefined)
    throw signatureRefused(image, {
      found: `${names.hashMethod} ${quote(hashMethod)}`,
      allowed: Object.keys(hashes).join(', '),
    });
  const keys = own(keyTypes, keyType);
  if (keys === undefined)
    throw signatureRefused(image, {
      found: `${names.keyType} ${quote(keyType)}`,
      allowed: Object.keys(keyTypes).join(', '),
    });
  const bytes = decode(signature);
  if (bytes === undefined)
    throw signatureRefused(image, { found: `${names.signature} ${quote(signature)}`, allowed: 'base64' });
  const found = find(certificate);
  if (found.kind !== 'trusted')
    throw signatureRefused(image, {
      found: `certificate ${quote(certificate)}, ${found.problem}`,
      allowed: 'one that is trusted',
    });
  const { signer } = found;
  const { asymmetricKeyType = 'none' } = signer.key;
  if (!keys.includes(asymmetricKeyType))
    throw signatureRefused(image, {
      found: `a key of type ${asymmetricKeyType} for ${keyType}`,
      allowed: keys.join(', '),
    });
  const saltLengthBytes = keyType === 'RSA-PSS' ? longestSalt(signer.key, hash.bytes) : undefined;
  if (saltLengthBytes !== undefined && saltLengthBytes < 0)
    throw signatureRefused(image, { found: `a key that is too short for ${hashMethod}`, allowed: 'a longer one' });
  const publicKey = signer.key.export({ type: 'spki', format: 'pem' }).toString();
  const id = createHash('sha256')
    .update(JSON.stringify([keyType === 'RSA-PSS', hash.algorithm, publicKey, bytes.toString('base64')]))
    .digest('hex');
  const { id: certificateId, subject, fingerprint } = signer;
  return {
    check: { algorithm: hash.algorithm, publicKey, signature: bytes, saltLengthBytes },
    id,
    verdict: { signature: { certificateId, subject, fingerprint, keyType, hashMethod } },
  };
}

/** With `bytesVerified`, that the bytes have the hash of the record, the refusal outlives its flight. */
export function signatureRefused(
  { id: imageId }: Pick<Image, 'id'>,
  why: Pick<FailureDetails['ImageRefused'], 'found' | 'allowed' | 'bytesVerified'>,
): Failure<'ImageRefused'> {
  return new Failure('ImageRefused', { imageId, rule: 'signature', ...why });
}

function own<Value>(table: Record<string, Value>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}

/** Base64 as `base64` and Python write it: lines are allowed, what is missing at the end is not. */
function decode(text: string): Buffer | undefined {
  const packed = text.replaceAll(/\s/g, '');
  if (packed === '' || packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(packed)) return undefined;
  return Buffer.from(packed, 'base64');
}

/** RFC 8017, 9.1.1: the longest that an encoded message of one bit less than the modulus has room for. */
function longestSalt({ asymmetricKeyDetails }: KeyObject, hashBytes: number): number {
  const { modulusLength = 0 } = asymmetricKeyDetails ?? {};
  return Math.ceil((modulusLength - 1) / 8) - hashBytes - 2;
}
