import { createHash, X509Certificate, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage } from './error-message';

/** Certificates by id, and the authorities that their chains must end at. All of them are the operator's own files. */
export interface TrustStoreFiles {
  /** A directory of `<id>.pem`, or the file of each id. */
  certificates: string | Readonly<Record<string, string>>;
  /** PEM bundles of roots and of what is between; none: each certificate stands for itself. */
  authorities: readonly string[];
}

export interface Signer {
  id: string;
  key: KeyObject;
  subject: string;
  /** SHA-256 of the certificate, hex. */
  fingerprint: string;
}

export type FoundSigner = { kind: 'trusted'; signer: Signer } | { kind: 'unknown' | 'untrusted'; problem: string };

export interface TrustStore {
  /** Changes with every certificate that is added, removed or replaced, authorities too. */
  readonly version: string;
  readonly ids: readonly string[];
  /** Unix time in milliseconds at which the certificate ends. */
  endOf(id: string): number | undefined;
  /** Whether a certificate is trusted at this moment: its own dates, and a chain of valid authorities to a root. `problem` is the end of a sentence. */
  find(id: string, atMs?: number): FoundSigner;
}

/** Certificates are looked for under this name, by upper and lower case alike. */
const idOf = (given: string): string => given.toLowerCase();

/** @throws Error that names the file that cannot be read or holds no certificate. */
export function readTrustStore({ certificates, authorities }: TrustStoreFiles): TrustStore {
  const own = new Map(filesOf(certificates).map(([id, path]) => [idOf(id), readOne(path)]));
  const issuers = authorities.flatMap(readBundle);
  const version = createHash('sha256')
    .update(
      JSON.stringify([
        [...own].map(([id, certificate]) => `${id} ${printOf(certificate)}`).sort(),
        issuers.map(printOf).sort(),
      ]),
    )
    .digest('hex')
    .slice(0, 16);
  return {
    version,
    ids: [...own.keys()].sort(),
    endOf(id) {
      const certificate = own.get(idOf(id));
      return certificate && Date.parse(certificate.validTo);
    },
    find(given, atMs = Date.now()) {
      const id = idOf(given);
      const certificate = own.get(id);
      if (certificate === undefined) return { kind: 'unknown', problem: 'which is not in the trust store' };
      const problem = findProblem(certificate, { issuers, atMs });
      if (problem !== undefined) return { kind: 'untrusted', problem };
      const subject = certificate.subject.split('\n').join(', ');
      return {
        kind: 'trusted',
        signer: { id, key: certificate.publicKey, subject, fingerprint: printOf(certificate) },
      };
    },
  };
}

interface Judging {
  issuers: readonly X509Certificate[];
  atMs: number;
}

function findProblem(certificate: X509Certificate, { issuers, atMs }: Judging): string | undefined {
  const dates = findProblemOfDates(certificate, atMs);
  if (dates !== undefined || issuers.length === 0) return dates;
  if (leadsToRoot(certificate, { issuers, atMs }, [])) return undefined;
  return 'whose chain leads to no authority that is valid now';
}

function findProblemOfDates({ validFrom, validTo }: X509Certificate, atMs: number): string | undefined {
  if (atMs < Date.parse(validFrom)) return `which is valid from ${validFrom} on`;
  return atMs > Date.parse(validTo) ? `which was valid until ${validTo}` : undefined;
}

/** A root issued itself. Each issuer is an authority (basic constraints and key usage) within its dates, and has signed what it issued. */
function leadsToRoot(
  certificate: X509Certificate,
  { issuers, atMs }: Judging,
  path: readonly X509Certificate[],
): boolean {
  return issuers.some((issuer) => {
    if (path.includes(issuer) || !issuer.ca || findProblemOfDates(issuer, atMs) !== undefined) return false;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) return false;
    return issuer.checkIssued(issuer) || leadsToRoot(issuer, { issuers, atMs }, [...path, issuer]);
  });
}

const FILE = /^(.+)\.pem$/;

function filesOf(certificates: TrustStoreFiles['certificates']): [id: string, path: string][] {
  if (typeof certificates !== 'string') return Object.entries(certificates);
  const names = readdirSync(certificates).sort();
  return names.flatMap((name) => {
    const id = FILE.exec(name)?.[1];
    return id === undefined ? [] : [[id, join(certificates, name)] as [string, string]];
  });
}

function readOne(path: string): X509Certificate {
  const [first] = readBundle(path);
  if (first === undefined) throw new Error(`${path}: got no certificate, allowed is one in PEM`);
  return first;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function readBundle(path: string): X509Certificate[] {
  const found = readFileSync(path, 'latin1').match(CERTIFICATE) ?? [];
  if (found.length === 0) throw new Error(`${path}: got no certificate, allowed are certificates in PEM`);
  return found.map((pem) => {
    try {
      return new X509Certificate(pem);
    } catch (error) {
      throw new Error(`${path}: got a certificate that cannot be read: ${errorMessage(error)}`, { cause: error });
    }
  });
}

function printOf({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(':', '').toLowerCase();
}
