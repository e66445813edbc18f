import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { errorMessage } from '../../lib/error-message';
import { ConfigError } from './config-error';
import type { LoadedConfig } from './load';

/** Certificate and key of the block-storage API, and the authorities of its clients' certificates; all of it PEM. */
export interface ApiTls {
  cert: Buffer;
  key: Buffer;
  clientCa: Buffer | undefined;
  /** When the certificate ends. */
  endsAt: Date;
}

/**
 * Reads the files of `api.tls` as they are at this moment. @returns undefined where the API is to speak plain HTTP.
 * @throws ConfigError with the key and its file: one that cannot be read, or is none, or a key of another certificate.
 */
export function readApiTls({ config, path }: Pick<LoadedConfig, 'config' | 'path'>): ApiTls | undefined {
  const { tls } = config.api;
  if (tls === undefined) return undefined;
  const refused = (key: string, received: string, allowed: string) =>
    new ConfigError(path, [{ path: `api.tls.${key}`, received, allowed }]);
  const read = <T>(key: keyof typeof tls, allowed: string, parse: (pem: Buffer) => T): { pem: Buffer; parsed: T } => {
    const file = tls[key] ?? '';
    try {
      const pem = readFileSync(file);
      return { pem, parsed: parse(pem) };
    } catch (error) {
      throw refused(key, `${file}: ${errorMessage(error)}`, allowed);
    }
  };
  const cert = read('cert', 'a PEM file of a certificate and of those between', (pem) => new X509Certificate(pem));
  const key = read('key', 'a PEM file of a private key without a passphrase', (pem) => createPrivateKey(pem));
  if (!cert.parsed.checkPrivateKey(key.parsed))
    throw refused('key', tls.key, `the key of the certificate in ${tls.cert}`);
  const clientCa =
    tls.clientCa === undefined
      ? undefined
      : read('clientCa', 'a PEM file of certificates of authorities', (pem) => new X509Certificate(pem)).pem;
  return { cert: cert.pem, key: key.pem, clientCa, endsAt: new Date(cert.parsed.validTo) };
}
