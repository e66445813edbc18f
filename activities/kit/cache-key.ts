import { createHash } from 'node:crypto';
import type { CacheKey, Image } from '../../workflows/contract/image';
import type { TrustedSignature } from '../image/image-signature';

/** Hashes that a tenant cannot collide; md5 and sha1 can be. */
const STRONG_HASHES = ['sha256', 'sha384', 'sha512', 'sha3-256', 'sha3-384', 'sha3-512', 'blake2b', 'blake2s'];
const SHORT_KEY_HEX_DIGITS = 32;

/**
 * @param signature what the policy asks the bytes to have.
 * @returns the identity of what is cached for `image`; an image without a strong hash has its id in it.
 */
export function cacheKeyOf(image: Image, signature?: Pick<TrustedSignature, 'id'>): CacheKey {
  const strong =
    image.hashAlgorithm !== null && image.hashValue !== null && STRONG_HASHES.includes(image.hashAlgorithm);
  const fields = {
    containerFormat: image.containerFormat ?? '',
    diskFormat: image.diskFormat ?? '',
    hashAlgorithm: image.hashAlgorithm ?? 'md5',
    hashValue: image.hashValue ?? image.checksum ?? '',
    ...(strong ? {} : { imageId: image.id }),
    ...(signature && { signature: signature.id }),
  };
  return { ...fields, short: shortKeyOf(fields) };
}

/** @returns what stands for a key in ids and names: a hash of all its other fields. */
export function shortKeyOf({
  containerFormat,
  diskFormat,
  hashAlgorithm,
  hashValue,
  imageId,
  signature,
}: Omit<CacheKey, 'short'>): string {
  const bytes = [containerFormat, diskFormat, hashAlgorithm, hashValue, imageId ?? null];
  const canonical = JSON.stringify(signature === undefined ? bytes : [...bytes, signature]);
  return createHash('sha256').update(canonical).digest('hex').slice(0, SHORT_KEY_HEX_DIGITS);
}

/**
 * @returns the name of the image's bytes in a scratch: images with the same stored bytes share it, in whatever format
 * they are declared.
 */
export function contentHashOf(key: CacheKey): string {
  return key.imageId === undefined ? `${key.hashAlgorithm}-${key.hashValue}` : `image-${key.imageId}`;
}

/** Formats whose file is what the guest sees. */
export function isGuestBytes({
  containerFormat,
  diskFormat,
}: Pick<CacheKey, 'containerFormat' | 'diskFormat'>): boolean {
  return containerFormat !== 'compressed' && (diskFormat === 'raw' || diskFormat === 'iso');
}
