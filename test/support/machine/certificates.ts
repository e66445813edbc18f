import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Runs openssl: Node.js makes keys but no certificates. */
export function runOpenssl(directory: string, ...args: string[]): void {
  execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' });
}

/**
 * Makes two authorities, and by the first one a server `localhost` and a client `ivc`.
 * @returns the path of `ca.crt`, `other-ca.crt`, `server.crt`, `server.key`, `client.crt`, `client.key`.
 */
export function makeCertificates(directory: string): (name: string) => string {
  mkdirSync(directory, { mode: 0o700 });
  const path = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => runOpenssl(directory, ...args);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  for (const name of ['ca', 'other-ca'])
    openssl(
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.crt`,
    );
  const sign = (name: string, subject: string, extensions: string): void => {
    openssl('req', ...newKey, '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    writeFileSync(path(`${name}.ext`), extensions);
    const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', `${name}.ext`];
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.crt`);
  };
  sign('server', '/CN=localhost', 'subjectAltName=DNS:localhost\n');
  sign('client', '/CN=ivc', 'extendedKeyUsage=clientAuth\n');
  return path;
}
