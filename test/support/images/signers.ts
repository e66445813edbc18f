import { constants, createPrivateKey, createSign, randomUUID, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runOpenssl } from '../machine/certificates';

/** Types of keys that OpenStack's `cursive` knows. */
export const keyTypes = [
  'RSA-PSS',
  'DSA',
  'ECC_SECT571K1',
  'ECC_SECT409K1',
  'ECC_SECT571R1',
  'ECC_SECT409R1',
  'ECC_SECP521R1',
  'ECC_SECP384R1',
];
export const hashMethods = ['SHA-224', 'SHA-256', 'SHA-384', 'SHA-512'];

export interface Authority {
  name: string;
  certificate: string;
  key: string;
}

export interface Signer {
  /** Of its certificate in a trust store. */
  id: string;
  certificate: string;
  privateKey: KeyObject;
  keyType: string;
}

interface Made {
  directory: string;
  name: string;
  by?: Authority;
  /** 0: it has ended when anybody looks. */
  days?: number;
}

const AUTHORITY = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n';
const SIGNER = 'basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n';

/** A root, or what is between. */
export function makeAuthority(made: Made): Authority {
  const key = makeKey(made, ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1']);
  return { name: made.name, key, certificate: certify(made, key, AUTHORITY) };
}

export interface SignerOptions extends Made {
  /** As OpenStack names it. */
  keyType: string;
  extensions?: string;
}

export function makeSigner({ keyType, extensions = SIGNER, ...made }: SignerOptions): Signer {
  const key = makeKey(made, algorithmOf(keyType, made));
  const privateKey = createPrivateKey(readFileSync(key));
  return { id: randomUUID(), certificate: certify(made, key, extensions), privateKey, keyType };
}

function algorithmOf(keyType: string, { directory, name }: Made): string[] {
  if (keyType === 'RSA-PSS') return ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];
  const curve = /^ECC_(.+)$/.exec(keyType)?.[1];
  if (curve !== undefined) return ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve.toLowerCase()}`];
  const parameters = `${name}.param`;
  const sizes = ['-pkeyopt', 'dsa_paramgen_bits:1024', '-pkeyopt', 'dsa_paramgen_q_bits:160'];
  runOpenssl(directory, 'genpkey', '-genparam', '-algorithm', 'DSA', ...sizes, '-out', parameters);
  return ['-paramfile', parameters];
}

function makeKey({ directory, name }: Made, algorithm: string[]): string {
  mkdirSync(directory, { recursive: true });
  runOpenssl(directory, 'genpkey', ...algorithm, '-out', `${name}.key`);
  return join(directory, `${name}.key`);
}

function certify({ directory, name, by, days = 2 }: Made, key: string, extensions: string): string {
  writeFileSync(join(directory, `${name}.ext`), extensions);
  runOpenssl(directory, 'req', '-new', '-key', key, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
  const signedBy = by === undefined ? ['-signkey', key] : ['-CA', by.certificate, '-CAkey', by.key, '-CAcreateserial'];
  const serial = ['-days', String(days), '-extfile', `${name}.ext`, '-out', `${name}.crt`];
  runOpenssl(directory, 'x509', '-req', '-in', `${name}.csr`, ...signedBy, ...serial);
  return join(directory, `${name}.crt`);
}

interface Signing {
  hashMethod?: string;
  /** In bytes; default: the longest, as OpenStack has it. */
  saltLength?: number;
}

/** The properties of an image with these bytes. */
export function sign(
  { id, privateKey, keyType }: Signer,
  bytes: Buffer,
  { hashMethod = 'SHA-256', saltLength = constants.RSA_PSS_SALTLEN_MAX_SIGN }: Signing = {},
): Record<string, string> {
  const pss = keyType === 'RSA-PSS' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength } : {};
  const signature = createSign(hashMethod.replace('-', ''))
    .update(bytes)
    .sign({ key: privateKey, ...pss }, 'base64');
  return {
    img_signature: signature,
    img_signature_hash_method: hashMethod,
    img_signature_key_type: keyType,
    img_signature_certificate_uuid: id,
  };
}

/** A trust store's directory. */
export function writeTrustStore(directory: string, signers: readonly Signer[]): string {
  mkdirSync(directory, { recursive: true });
  for (const { id, certificate } of signers) writeFileSync(join(directory, `${id}.pem`), readFileSync(certificate));
  return directory;
}
