import { readTrustStore, type TrustStore, type TrustStoreFiles } from '../../lib/trust-store';
import type { EntryVerdict, Image, SignatureRequirement } from '../../workflows/contract/image';
import { signatureRefused, trustedSignatureOf, type TrustedSignature } from './image-signature';

/** Demands on images' signatures, and whose are trusted. */
export interface SignaturePolicy {
  /** Part of the image policy's version; undefined while nothing is asked. */
  readonly version: string | undefined;
  /**
   * Asked on every create: an image is refused by its own record whatever is cached.
   * @returns what the bytes must have; undefined where nothing is to be verified. @throws ImageRefused (final).
   */
  signatureOf(this: void, image: Image): TrustedSignature | undefined;
  /** @returns why no create can use an entry any more, as the end of a sentence. */
  findBreach(this: void, entry: { isSigned: boolean; verdict: EntryVerdict | null }): string | undefined;
}

export interface SignatureSettings extends Partial<TrustStoreFiles> {
  require: SignatureRequirement;
}

/** Reads the trust store, once. @throws Error that names the file which is not as it must be. */
export function openSignaturePolicy({ require, certificates, authorities = [] }: SignatureSettings): SignaturePolicy {
  if (require === 'off' || certificates === undefined)
    return {
      version: undefined,
      signatureOf: () => undefined,
      findBreach: ({ isSigned }) => (isSigned ? 'signatures are not asked for any more' : undefined),
    };
  const store = readTrustStore({ certificates, authorities });
  return {
    version: `${require} ${store.version}`,
    signatureOf(image) {
      const signature = trustedSignatureOf(image, (id) => store.find(id));
      if (signature === undefined && require === 'always')
        throw signatureRefused(image, { found: 'no signature', allowed: 'a signed image' });
      return signature;
    },
    findBreach({ isSigned, verdict }) {
      if (!isSigned) return require === 'always' ? 'it was cached without a signature' : undefined;
      return isTrusted(store, verdict) ? undefined : 'the certificate that it was verified by is not trusted';
    },
  };
}

function isTrusted(store: TrustStore, verdict: EntryVerdict | null): boolean {
  const signature = verdict?.signature;
  if (signature === undefined) return false;
  const found = store.find(signature.certificateId);
  return found.kind === 'trusted' && found.signer.fingerprint === signature.fingerprint;
}
