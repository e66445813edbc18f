import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate } from 'node:tls';
import { makeCertificates, runOpenssl } from '../../support/machine/certificates';
import { startApi } from '../../support/stack/api';
import { useStack } from '../../support/stack/flows';

const flow = useStack({ workers: [] });
let directory: string;
let certificate: (name: string) => string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-api-tls-'));
  certificate = makeCertificates(join(directory, 'pem'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const ofServer = () => ({ cert: certificate('server.crt'), key: certificate('server.key') });

/** @returns the status of an answer; rejects where no connection is made. */
async function ask(url: string, own: { cert?: Buffer; key?: Buffer } = {}): Promise<number | undefined> {
  const options = { ca: readFileSync(certificate('ca.crt')), servername: 'localhost', agent: false, ...own };
  return await new Promise((resolve, reject) => {
    request(`${url}/v3/`, options, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end();
  });
}

async function certificateOf(url: string): Promise<PeerCertificate> {
  return await new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', { rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    }).on('error', reject);
  });
}

describe('an API with a certificate', () => {
  it('speaks TLS alone, and names itself so in links', async () => {
    const api = await startApi(flow.stack, { tls: ofServer() });
    try {
      expect(api.url).toMatch(/^https:/);
      expect(await ask(api.url)).toBe(200);
      await expect(fetch(api.url.replace('https:', 'http:'))).rejects.toThrow('fetch failed');
    } finally {
      await api.stop();
    }
  });

  it('shows new clients a renewed one after SIGHUP, and the former one while the new one is none', async () => {
    const tls = { cert: join(directory, 'renewed.crt'), key: join(directory, 'renewed.key') };
    copyFileSync(certificate('server.crt'), tls.cert);
    copyFileSync(certificate('server.key'), tls.key);
    const api = await startApi(flow.stack, { tls });
    const said = (what: string) =>
      flow.until(`the API to say that ${what}`, async () => readFileSync(api.logPath, 'utf8').includes(what));
    try {
      const { serialNumber } = await certificateOf(api.url);
      copyFileSync(certificate('client.crt'), tls.cert);
      api.process.kill('SIGHUP');
      await said('could not be read again');
      expect(await certificateOf(api.url)).toMatchObject({ serialNumber });
      copyFileSync(certificate('client.key'), tls.key);
      api.process.kill('SIGHUP');
      await said('was read again');
      const renewed = await certificateOf(api.url);
      expect(renewed.serialNumber).not.toBe(serialNumber);
      expect(renewed.subject.CN).toBe('ivc');
    } finally {
      await api.stop();
    }
  });

  it('of clients that must have one serves no other', async () => {
    runOpenssl(
      join(directory, 'pem'),
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-subj',
      '/CN=stranger',
      '-keyout',
      'stranger.key',
      '-out',
      'stranger.crt',
    );
    const of = (name: string) => ({
      cert: readFileSync(certificate(`${name}.crt`)),
      key: readFileSync(certificate(`${name}.key`)),
    });
    const api = await startApi(flow.stack, { tls: { ...ofServer(), clientCa: certificate('ca.crt') } });
    try {
      expect(await ask(api.url, of('client'))).toBe(200);
      await expect(ask(api.url)).rejects.toMatchObject({ code: expect.any(String) });
      await expect(ask(api.url, of('stranger'))).rejects.toMatchObject({ code: expect.any(String) });
    } finally {
      await api.stop();
    }
  });
});

it.each<{ what: string; tls: (name: typeof certificate) => object; says: RegExp }>([
  {
    what: 'a certificate that is not there',
    tls: (pem) => ({ cert: '/nowhere.crt', key: pem('server.key') }),
    says: /api\.tls\.cert: got \/nowhere\.crt: .*ENOENT/,
  },
  {
    what: 'a certificate that is none',
    tls: (pem) => ({ cert: pem('server.key'), key: pem('server.key') }),
    says: /api\.tls\.cert: got \S+server\.key: /,
  },
  {
    what: 'a key that is none',
    tls: (pem) => ({ cert: pem('server.crt'), key: pem('server.crt') }),
    says: /api\.tls\.key: got \S+server\.crt: /,
  },
  {
    what: 'a key of another certificate',
    tls: (pem) => ({ cert: pem('server.crt'), key: pem('client.key') }),
    says: /api\.tls\.key: got \S+client\.key, allowed is the key of the certificate in \S+server\.crt/,
  },
  {
    what: 'an authority that is none',
    tls: (pem) => ({ cert: pem('server.crt'), key: pem('server.key'), clientCa: pem('ca.key') }),
    says: /api\.tls\.clientCa: got \S+ca\.key: /,
  },
])('$what is told with the key and the file, and the API does not start', async ({ tls, says }) => {
  const start = startApi(flow.stack, { tls: tls(certificate) });
  await expect(start).rejects.toThrow('ended with 2');
  expect(readFileSync(`${flow.stack.environment['IVC_CONFIG']}.api.yaml.log`, 'utf8')).toMatch(says);
});
