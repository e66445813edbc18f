import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ConfigError } from '../../../../client/config/config-error';
import { loadConfig } from '../../../../client/config/load';
import { packageRoot } from '../../../../client/config/package-root';
import { configSchema } from '../../../../client/config/schema';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ivc-config-'))));
afterEach(() => rmSync(directory, { recursive: true }));

function write(text: string): string {
  const path = join(directory, 'temporal.yaml');
  writeFileSync(path, text);
  return path;
}

function load(text: string, env: NodeJS.ProcessEnv = {}) {
  return loadConfig({ path: write(text), env: { IVC_DATA: '/data', ...env } });
}

function faultsOf(text: string, env: NodeJS.ProcessEnv = {}): ConfigError {
  try {
    load(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

function leafPaths(value: object, prefix: string[] = []): string[][] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? leafPaths(inner, [...prefix, key])
      : [[...prefix, key]],
  );
}

describe('the checked-in temporal.yaml', () => {
  const path = join(packageRoot(), 'temporal.yaml');

  test('works unedited and says nothing else than the defaults', () => {
    expect(loadConfig({ path, env: { IVC_DATA: '/data' } }).config).toEqual(load('{}').config);
  });

  test('shows every key that has a default', () => {
    const shown: unknown = parse(readFileSync(path, 'utf8'));
    for (const key of leafPaths(configSchema.parse({}))) expect(shown).toHaveProperty(key);
  });

  test('is what a program in another directory gets', () => {
    const before = process.cwd();
    process.chdir(directory);
    try {
      expect(loadConfig({ env: {} }).path).toBe(path);
    } finally {
      process.chdir(before);
    }
  });
});

test('watermarks may be equal, and limits are what a signal may set them to', () => {
  const limits = (cache: string) => `backends: { local: { driver: file, cache: { ${cache} } } }`;
  expect(load(limits('freeLowWater: 20%, freeHighWater: 20%')).config.backends['local']?.cache).toMatchObject({
    freeLowWater: 0.2,
    freeHighWater: 0.2,
  });
  for (const [cache, allowed] of [
    ['maxBytes: 0', 'at least 1B'],
    ['idleAge: 0s', 'at least 1ms'],
    ['maxCount: 1000001', '1000000'],
  ] as const)
    expect(faultsOf(limits(cache)).issues).toMatchObject([{ allowed: expect.stringContaining(allowed) }]);
});

describe('signatures of images', () => {
  const id = '0f8fad5b-d9cb-469f-a165-70867728950e';

  test('have a trust store beside the file, a directory or a file for each certificate', () => {
    const here = (name: string) => join(directory, name);
    const of = (certificates: string) =>
      load(
        `policy: { signatures: { require: always, certificates: ${certificates}, authorities: [root.pem, /ca.pem] } }`,
      ).config.policy.signatures;
    expect(of('signers')).toEqual({
      require: 'always',
      certificates: here('signers'),
      authorities: [here('root.pem'), '/ca.pem'],
    });
    expect(of(`{ ${id}: signer.pem }`)).toMatchObject({ certificates: { [id]: here('signer.pem') } });
    expect(load('').config.policy.signatures).toEqual({ require: 'off', authorities: [] });
  });

  test.each([
    ['{ require: always }', 'policy.signatures.require', 'off, unless'],
    ['{ require: sometimes }', 'policy.signatures.require', '"off", "when-present", "always"'],
    ['{ certificates: { signer: a.pem } }', 'policy.signatures.certificates', 'a directory, or a file for each'],
    ['{ certificates: 7 }', 'policy.signatures.certificates', 'a directory, or a file for each'],
    ['{ authorities: root.pem }', 'policy.signatures.authorities', 'a list'],
  ])('are refused where %s is not as it must be', (signatures, path, allowed) => {
    expect(faultsOf(`policy: { signatures: ${signatures} }`).issues).toMatchObject([
      { path, line: 1, allowed: expect.stringContaining(allowed) },
    ]);
  });
});

describe('volume types', () => {
  const backends = 'backends: { a: { driver: file }, b: { driver: file } }';

  test('name backends, projects and extra specs', () => {
    const types = 'volumeTypes: { fast: { backends: [b], projects: [p], extraSpecs: { k: v } }, every: {} }';
    expect(load(`${backends}\n${types}\ndefaultVolumeType: every`).config).toMatchObject({
      volumeTypes: { fast: { backends: ['b'], projects: ['p'], extraSpecs: { k: 'v' } }, every: { extraSpecs: {} } },
      defaultVolumeType: 'every',
    });
  });

  test.each([
    ['volumeTypes: { fast: { backends: [c] } }', 'volumeTypes.fast.backends.0', 'one of the backends a, b'],
    ['volumeTypes: { fast: { backends: [] } }', 'volumeTypes.fast.backends', 'at least 1'],
    ['volumeTypes: { fast: { extraSpecs: { n: 1 } } }', 'volumeTypes.fast.extraSpecs.n', 'a text'],
    ['defaultVolumeType: fast', 'defaultVolumeType', 'there is none'],
    ['{ volumeTypes: { own: { projects: [p] } }, defaultVolumeType: own }', 'defaultVolumeType', 'there is none'],
  ])('are refused where %s is not as it must be', (types, path, allowed) => {
    const text = types.startsWith('{') ? types : `${backends}\n${types}`;
    expect(faultsOf(text).issues).toMatchObject([{ path, allowed: expect.stringContaining(allowed) }]);
  });

  test('leave no backend the name that stands for all', () => {
    expect(faultsOf('backends: { any: { driver: file } }').issues).toMatchObject([{ path: 'backends.any' }]);
  });
});

describe('all faults', () => {
  const text = [
    'temporal: { adress: x, tls: maybe, retention: 7 }',
    'images: { service: embeded, prot: 1 }',
    'backends:',
    '  Local: { driver: file, cache: { maxBytes: lots, freeLowWater: 30%, freeHighWater: 20% } }',
    '  other: { driver: rbdd }',
    'defaultBackend: third',
    'nonsense: true',
  ].join('\n');

  test('are told at once, each with its path, its line, what was found and what is allowed', () => {
    const found = faultsOf(text, { TEMPORAL_ADDRESS: 'no port' }).issues;
    expect(found).toEqual(
      expect.arrayContaining([
        {
          path: 'temporal.address',
          variable: 'TEMPORAL_ADDRESS',
          received: '"no port"',
          allowed: 'embedded or host:port',
        },
        { path: 'temporal.tls', line: 1, received: '"maybe"', allowed: 'true or false' },
        { path: 'temporal.retention', line: 1, received: '7', allowed: 'a duration such as 250ms, 90s, 30m, 6h or 7d' },
        { path: 'images.service', line: 2, received: '"embeded"', allowed: '"embedded", "catalogue"' },
        {
          path: 'backends.Local',
          line: 4,
          received: 'the name "Local"',
          allowed: expect.stringContaining('lower-case'),
        },
        {
          path: 'backends.Local.cache.maxBytes',
          line: 4,
          received: '"lots"',
          allowed: expect.stringContaining('a size such as 100GiB'),
        },
        { path: 'backends.Local.cache.freeLowWater', line: 4, received: '30%', allowed: 'at most freeHighWater, 20%' },
        { path: 'backends.other.driver', line: 5, received: '"rbdd"', allowed: '"file", "rbd"' },
        { path: 'defaultBackend', line: 6, received: '"third"', allowed: 'one of the backends Local, other' },
      ]),
    );
  });

  test('include every unknown key, with the keys that are known there', () => {
    const unknown = faultsOf(text).issues.filter(({ received }) => received?.startsWith('the unknown key'));
    expect(unknown.map(({ path }) => path)).toEqual(['temporal.adress', 'images.prot', 'nonsense']);
    expect(unknown[0]?.allowed).toContain('address, namespace');
  });

  test('are a line each in the message', () => {
    const { message, issues } = faultsOf(text);
    expect(message.split('\n')).toHaveLength(issues.length + 1);
    expect(message).toContain('temporal.tls (line 1): got "maybe"');
  });

  test('never show a password', () => {
    expect(faultsOf('{}', { DATABASE_URL: 'mysql://user:secret@host/name' }).message).not.toContain('secret');
  });
});

test('a file that is no YAML is refused with the line', () => {
  expect(faultsOf('temporal:\n  port: 1\n bad').issues[0]).toMatchObject({ path: '', line: 3 });
});

test('a file that is a list is refused', () => {
  expect(faultsOf('- a').issues).toEqual([
    { path: '', received: '["a"]', line: undefined, allowed: 'a section with keys' },
  ]);
});

test('a named file that is absent is an error, not the default', () => {
  expect(() => loadConfig({ path: join(directory, 'absent.yaml'), env: {} })).toThrow(/absent\.yaml/);
});

test('IVC_CONFIG names the file', () => {
  const path = write('temporal: { namespace: mine }');
  expect(loadConfig({ env: { IVC_CONFIG: path } }).config.temporal.namespace).toBe('mine');
});

describe('the environment', () => {
  test.each([
    ['TEMPORAL_ADDRESS', 'host:7233', 'temporal.address'],
    ['TEMPORAL_NAMESPACE', 'mine', 'temporal.namespace'],
    ['DATABASE_URL', 'postgres://user:secret@host/name', 'database.url'],
    ['OS_IMAGE_ENDPOINT_OVERRIDE', 'http://glance:9292', 'images.endpoint'],
  ])('%s overrides the file', (variable, value, path) => {
    const { config, sources } = load('temporal: { address: other:1, namespace: other }', { [variable]: value });
    expect(config).toHaveProperty(path, value);
    expect(Object.values(sources)).toEqual([variable]);
  });

  test.each([
    ['1', true],
    ['true', true],
    ['0', false],
    ['false', false],
  ])('TEMPORAL_TLS=%s means %s', (value, tls) => {
    expect(load('{}', { TEMPORAL_TLS: value }).config.temporal.tls).toBe(tls);
  });

  test('gives the metrics port as a number', () => {
    expect(load('{}', { IVC_METRICS_PORT: '1234' }).config.worker.metricsPort).toBe(1234);
    expect(load('{}', { IVC_LIVENESS_PORT: '1235' }).config.worker.livenessPort).toBe(1235);
  });

  test('does not override with an empty variable', () => {
    expect(load('{}', { TEMPORAL_ADDRESS: '' })).toMatchObject({
      config: { temporal: { address: 'embedded' } },
      sources: {},
    });
  });
});

describe('an identity', () => {
  const catalogue = { service: 'catalogue' };

  test.each([
    [{ OS_CLOUD: 'mine' }, { cloud: 'mine' }],
    [{ OS_AUTH_URL: 'http://k:5000' }, { cloud: 'envvars' }],
    [{ OS_AUTH_URL: 'http://k:5000', OS_CLOUD_NAME: 'shell' }, { cloud: 'shell' }],
    [{ OS_CLOUD: 'mine', OS_AUTH_URL: 'http://k:5000' }, { cloud: 'mine' }],
  ])('is what the variables %j say, and has its own images', (env, identity) => {
    const { config } = load('identity: { authUrl: https://other }\nimages: { service: embedded }', env);
    expect(config).toMatchObject({ identity, images: catalogue });
  });

  test('leaves an endpoint of images alone', () => {
    const endpoint = 'http://glance:9292';
    expect(load(`images: { endpoint: '${endpoint}' }`, { OS_CLOUD: 'mine' }).config.images).toEqual({ endpoint });
    const env = { OS_CLOUD: 'mine', OS_IMAGE_ENDPOINT_OVERRIDE: endpoint };
    expect(load('{}', env).config).toMatchObject({ identity: { cloud: 'mine' }, images: { endpoint } });
  });

  test('in the file has the images of its catalogue, unless others are named', () => {
    expect(load('identity: { cloud: mine }').config.images).toEqual(catalogue);
    const named = load('identity: { cloud: mine }\nimages: { service: embedded }').config;
    expect(named).toMatchObject({ identity: { cloud: 'mine' }, images: { service: 'embedded' } });
  });

  test('is wanted by images of a catalogue', () => {
    expect(faultsOf('images: { service: catalogue }').issues).toMatchObject([{ path: 'images.service' }]);
  });

  test('says whose the names of the internal tenant are', () => {
    const names = 'internalTenant: { projectName: p, userName: u }';
    expect(load(`identity: { cloud: mine }\n${names}`).config.internalTenant).toEqual({
      projectName: 'p',
      userName: 'u',
    });
    expect(faultsOf(names).issues).toMatchObject([
      { path: 'internalTenant.projectName', received: '"p"' },
      { path: 'internalTenant.userName', received: '"u"' },
    ]);
    expect(load('internalTenant: { projectId: p }').config.internalTenant).toEqual({ projectId: 'p' });
  });

  test('has files relative to the configuration, and no password', () => {
    const { config } = load('identity: { authUrl: https://k, username: u, secretFile: secret, cacert: ca.pem }');
    expect(config.identity).toMatchObject({ secretFile: join(directory, 'secret'), cacert: join(directory, 'ca.pem') });
    expect(faultsOf('identity: { authUrl: https://k, password: p }').issues).toMatchObject([
      { path: 'identity.password', received: 'the unknown key "password"' },
    ]);
  });
});

describe('directories', () => {
  test('are relative to the file', () => {
    mkdirSync(join(directory, 'sub'));
    const { config } = load(
      'scratch: { directory: sub }\nbackends: { local: { driver: file, directory: ../volumes } }',
    );
    expect(config.scratch.directory).toBe(join(directory, 'sub'));
    expect(config.backends['local']).toMatchObject({ directory: join(directory, '..', 'volumes') });
  });

  test('may begin with the home directory', () => {
    expect(load('scratch: { directory: ~/scratch }').config.scratch.directory).toBe(join(homedir(), 'scratch'));
  });

  test('are in the data directory by default', () => {
    const { config, dataDirectory } = load('{}');
    expect(dataDirectory).toBe('/data');
    expect(config.scratch.directory).toBe('/data/scratch');
    expect(config.backends['local']).toMatchObject({ directory: '/data/volumes/local' });
  });
});

test('the first backend is the default one', () => {
  expect(load('backends: { b: { driver: file }, a: { driver: file } }').config.defaultBackend).toBe('b');
});

test('at least one backend is needed', () => {
  expect(faultsOf('backends: {}').issues[0]).toMatchObject({ path: 'backends', allowed: 'at least one backend' });
});
