import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../client/config/load';
import { roles } from '../../client/config/worker-roles';
import { ensureTools } from '../support/machine/debian-packages';
import { buildGoTool, installDeployTools } from '../support/machine/deploy-tools';

const run = promisify(execFile);
const deploy = resolve(__dirname, '../../deploy');
const external = { TEMPORAL_ADDRESS: 'temporal:7233', PGHOST: 'db' };

let directory: string;
let python: string;
let helm: string;
let composeGo: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-deploy-'));
  await ensureTools({ 'systemd-analyze': 'systemd' });
  python = await installDeployTools();
  helm = await buildGoTool('helm', directory);
  composeGo = await buildGoTool('compose-go', directory);
}, 1_200_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the systemd units', () => {
  const units = readdirSync(join(deploy, 'systemd'));

  it('are one for each role, and one for the API', () => {
    const commands = units.map(
      (unit) =>
        /^ExecStart=\S+ ivc (?:worker --roles )?(\w+)$/m.exec(readFileSync(join(deploy, 'systemd', unit), 'utf8'))?.[1],
    );
    expect(new Set(commands)).toEqual(new Set([...roles, 'api']));
    expect(commands).toHaveLength(roles.length + 1);
  });

  it.each(units)('%s is one that systemd takes without a word, and hardened', async (unit) => {
    const path = join(deploy, 'systemd', unit);
    const { stdout, stderr } = await run('systemd-analyze', ['verify', '--man=no', path]);
    expect(stdout + stderr).toBe('');
    const threshold = ['ivc-control.service', 'ivc-api.service'].includes(unit) ? '20' : '50';
    await run('systemd-analyze', ['security', '--offline=true', `--threshold=${threshold}`, path]);
  });

  it('listen on ports of their own, so that one host can have all', () => {
    const ports = units.flatMap((unit) => {
      const variables = readFileSync(join(deploy, 'systemd', unit), 'utf8').match(/^Environment=IVC_METRICS_PORT=.*$/m);
      const env = Object.fromEntries(
        [...(variables?.[0] ?? '').matchAll(/(IVC_\w+)=(\d+)/g)].map(([, key, port]) => [key, port]),
      );
      const { config } = loadConfig({
        path: join(deploy, 'temporal.yaml'),
        env: { ...external, IVC_DATA: '/data', ...env },
      });
      if (unit === 'ivc-api.service') return [config.api.metrics.port, config.api.metrics.livenessPort];
      return [config.worker.metricsPort, config.worker.livenessPort];
    });
    expect(new Set(ports).size).toBe(2 * units.length);
  });

  it('begin with a configuration that is valid', () => {
    expect(
      loadConfig({ path: join(deploy, 'temporal.yaml'), env: { ...external, IVC_DATA: '/data' } }).config,
    ).toMatchObject({
      database: { url: 'postgres://' },
      worker: { livenessPort: 9465 },
      api: { listen: '0.0.0.0:8776', metrics: { livenessPort: 9471 } },
    });
  });
});

describe('the Containerfile', () => {
  const text = readFileSync(join(deploy, 'Containerfile'), 'utf8');

  it('has nothing that hadolint minds', async () => {
    const { stdout } = await run(join(python, 'bin/hadolint'), [join(deploy, 'Containerfile')]);
    expect(stdout).toBe('');
  });

  it('ends as a user that is not root, in a stage that installs no build tools', () => {
    const last = text.slice(text.lastIndexOf('\nFROM '));
    expect(text.match(/^FROM /gm)).toHaveLength(2);
    expect(last).toMatch(/^USER [1-9]\d*:[1-9]\d*$/m);
    expect(last).not.toMatch(/\b(?:build-essential|gcc|g\+\+|make|python3|golang|git)\b/);
  });
});

const composeSchema = z.looseObject({
  services: z.record(
    z.string(),
    z.looseObject({ command: z.array(z.string()), read_only: z.literal(true), cap_drop: z.tuple([z.literal('ALL')]) }),
  ),
});

describe('the compose file', () => {
  it('is valid, its workers have every role between them, and the API is there', async () => {
    // The program reads no environment.
    const text = readFileSync(join(deploy, 'compose.yaml'), 'utf8').replaceAll(/\$\{\w+:\?[^}]*\}/g, 'elsewhere:7233');
    writeFileSync(join(directory, 'compose.yaml'), text);
    const { stdout } = await run(composeGo, [join(directory, 'compose.yaml')]);
    const { services } = composeSchema.parse(parse(stdout));
    const { api, ...workers } = services;
    expect(api?.command).toEqual(['api']);
    expect(api).not.toHaveProperty('scale');
    const given = Object.values(workers).flatMap(({ command }) => command.at(-1)?.split(',') ?? []);
    expect(given.toSorted()).toEqual([...roles].sort());
  });

  it('says what must be set', async () => {
    await expect(
      run(composeGo, [join(deploy, 'compose.yaml')], { env: { PATH: process.env['PATH'] } }),
    ).rejects.toThrow('TEMPORAL_ADDRESS');
  });
});

describe('the Helm chart', () => {
  const chart = join(deploy, 'helm');
  const given = ['--set', 'temporal.address=temporal:7233,database.host=db,database.passwordSecret=db'];
  const template = (...more: string[]) => run(helm, ['template', 'ivc', chart, ...given, ...more]);

  it('has nothing that helm minds', async () => {
    const { stdout } = await run(helm, ['lint', '--strict', chart, ...given]);
    expect(stdout).toContain('1 chart(s) linted, 0 chart(s) failed');
  });

  const withApi = ['--set', 'api.enabled=true,api.tlsSecret=pem,config.identity.cloud=mycloud'];

  it.each<[string, string[], number]>([
    ['with its defaults', [], 4],
    [
      'with an API key and a storage class',
      ['--set', 'temporal.apiKeySecret=key,host.storage.className=fast,host.replicas=3'],
      4,
    ],
    ['with the block-storage API', withApi, 6],
  ])('renders manifests that Kubernetes takes, %s', async (_, more, manifests) => {
    const { stdout } = await template(...more);
    const path = join(directory, 'rendered.yaml');
    writeFileSync(path, stdout);
    const env = { ...process.env, PYTHONPATH: python };
    const checked = await run(join(python, 'bin/kubernetes-validate'), ['--strict', path], { env });
    expect((checked.stdout + checked.stderr).match(/ passed /g)).toHaveLength(manifests);
    expect(stdout).not.toContain('runAsUser: 0');
  });

  it('gives workers and API a configuration that is valid', async () => {
    const { stdout } = await template(...withApi);
    const documents = parseAllDocuments(stdout).map(
      (document) => document.toJS() as { kind: string; data?: Record<string, string> },
    );
    const text = documents.find(({ kind }) => kind === 'ConfigMap')?.data?.['temporal.yaml'] ?? '';
    const path = join(directory, 'temporal.yaml');
    writeFileSync(path, text);
    const { worker, api } = loadConfig({ path, env: { ...external, IVC_DATA: '/data' } }).config;
    expect(worker).toMatchObject({ address: '0.0.0.0', metricsPort: 9464, livenessPort: 9465 });
    expect(api).toMatchObject({
      listen: '0.0.0.0:8776',
      tls: { cert: '/run/secrets/tls/tls.crt', key: '/run/secrets/tls/tls.key' },
      metrics: { address: '0.0.0.0', port: 9470, livenessPort: 9471 },
    });
  });

  it('refuses an API that would know nobody', async () => {
    await expect(template('--set', 'api.enabled=true')).rejects.toThrow('needs config.identity');
  });

  it.each([
    ['no address of Temporal', 'temporal.address='],
    ['an unknown key', 'control.replica=2'],
    ['a number of replicas that is none', 'host.replicas=many'],
  ])('refuses %s', async (_, value) => {
    await expect(template('--set', value)).rejects.toThrow("values don't meet the specifications");
  });
});
