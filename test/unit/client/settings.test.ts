import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { writeEndpoints } from '../../../client/config/endpoints';
import { findProcess } from '../../../lib/process-identity';
import { ImageVolumeCacheError } from '../../../client/errors';
import { missing, resolveSettings } from '../../../client/settings';

let data: string;
let config: string;

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'ivc-settings-'));
  config = join(data, 'temporal.yaml');
  writeFileSync(config, '');
});

afterEach(() => rmSync(data, { recursive: true, force: true }));

function startedStack(): void {
  const supervisor = findProcess(process.pid);
  if (supervisor === undefined) throw new Error('this process is not running');
  writeEndpoints({
    dataDirectory: data,
    supervisor,
    temporal: {
      address: '127.0.0.1:7300',
      namespace: 'ours',
      uiUrl: 'http://127.0.0.1:8300',
      embedded: true,
      taskQueuePrefix: 'p-',
    },
    database: { url: 'postgres://ivc:secret@localhost/stack', embedded: true },
    images: { endpoint: 'http://127.0.0.1:9300', embedded: true },
  });
}

const defaults = (): NodeJS.ProcessEnv => ({ IVC_DATA: data, IVC_CONFIG: config });

describe('resolveSettings', () => {
  it('knows no address when nothing is named and nothing runs', () => {
    expect(resolveSettings({}, defaults())).toMatchObject({
      address: undefined,
      databaseUrl: undefined,
      imagesEndpoint: undefined,
      namespace: 'default',
    });
  });

  it('takes what the running stack wrote', () => {
    startedStack();
    expect(resolveSettings({}, defaults())).toMatchObject({
      address: '127.0.0.1:7300',
      namespace: 'ours',
      taskQueuePrefix: 'p-',
      databaseUrl: 'postgres://ivc:secret@localhost/stack',
      imagesEndpoint: 'http://127.0.0.1:9300',
      uiUrl: 'http://127.0.0.1:8300',
    });
  });

  it('lets the environment win over the stack, and an option over the environment', () => {
    startedStack();
    const env = {
      ...defaults(),
      DATABASE_URL: 'postgres://other/db',
      OS_IMAGE_ENDPOINT_OVERRIDE: 'http://glance:9292',
      TEMPORAL_NAMESPACE: 'theirs',
    };
    expect(resolveSettings({}, env)).toMatchObject({
      databaseUrl: 'postgres://other/db',
      imagesEndpoint: 'http://glance:9292',
      namespace: 'theirs',
    });
    expect(resolveSettings({ databaseUrl: 'postgres://third/db', namespace: 'mine' }, env)).toMatchObject({
      databaseUrl: 'postgres://third/db',
      namespace: 'mine',
    });
  });

  it('leaves a stack aside whose Temporal server is not the one that is asked for', () => {
    startedStack();
    const env = { ...defaults(), TEMPORAL_ADDRESS: 'temporal.example:7233' };
    expect(resolveSettings({}, env)).toMatchObject({
      address: 'temporal.example:7233',
      databaseUrl: undefined,
      taskQueuePrefix: '',
      endpoints: undefined,
    });
  });

  it('lets a file that was chosen win over the stack', () => {
    startedStack();
    writeFileSync(config, 'temporal: { address: "temporal.example:7233" }\ndatabase: { url: "postgres://file/db" }\n');
    expect(resolveSettings({}, defaults())).toMatchObject({
      address: 'temporal.example:7233',
      databaseUrl: 'postgres://file/db',
    });
  });
});

describe('missing', () => {
  function messageOf(env: NodeJS.ProcessEnv): string {
    try {
      return missing('database', 'DATABASE_URL', resolveSettings({}, env));
    } catch (error) {
      if (error instanceof ImageVolumeCacheError) return `${error.exitCode} ${error.message}`;
      throw error;
    }
  }

  it('says how to start the part, or how to name it', () => {
    expect(messageOf(defaults())).toBe(
      `5 no database is configured and no stack of ${data} is running: start one with \`ivc up\`, or set DATABASE_URL`,
    );
  });

  it('does not advise to start a stack when another server was asked for', () => {
    const env = { ...defaults(), TEMPORAL_ADDRESS: 'temporal.example:7233' };
    expect(messageOf(env)).toBe(
      '5 no database is known for the Temporal server at temporal.example:7233: set DATABASE_URL',
    );
  });
});

describe('how a Temporal server is reached', () => {
  const profiles =
    '[profile.default]\naddress = "own:7233"\n[profile.cloud]\naddress = "cloud:7233"\napi_key = "of-the-profile"\n';
  /** As it stands in somebody's home. */
  function homeWithProfiles(): NodeJS.ProcessEnv {
    mkdirSync(join(data, 'temporalio'));
    writeFileSync(join(data, 'temporalio/temporal.toml'), profiles);
    return { ...defaults(), XDG_CONFIG_HOME: data };
  }

  it('a profile that nobody names is left alone', () => {
    const settings = resolveSettings({}, homeWithProfiles());
    expect(settings.address).toBeUndefined();
    expect(settings.temporalAccess()).toEqual({ tls: false });
  });

  it('takes an option, then a variable, then the profile, then the file', () => {
    writeFileSync(config, 'temporal: { address: "file:7233", namespace: of-file, profile: cloud }\n');
    const env = homeWithProfiles();
    const found = resolveSettings({}, env);
    expect(found).toMatchObject({ address: 'cloud:7233', namespace: 'of-file' });
    expect(found.temporalAccess()).toMatchObject({ tls: true, apiKey: 'of-the-profile' });
    const over = { ...env, TEMPORAL_ADDRESS: 'variable:7233', TEMPORAL_API_KEY: 'of-variable', TEMPORAL_TLS: 'no' };
    expect(resolveSettings({}, over)).toMatchObject({ address: 'variable:7233' });
    expect(resolveSettings({}, over).temporalAccess()).toMatchObject({ tls: false, apiKey: 'of-variable' });
    const option = resolveSettings({ address: 'option:7233', apiKey: 'of-option', tls: true }, over);
    expect(option).toMatchObject({ address: 'option:7233' });
    expect(option.temporalAccess()).toMatchObject({ tls: true, apiKey: 'of-option' });
  });

  it('gives the server of the running stack no key', () => {
    startedStack();
    const settings = resolveSettings({}, { ...defaults(), TEMPORAL_API_KEY: 'of-another' });
    expect(settings.address).toBe('127.0.0.1:7300');
    expect(settings.temporalAccess()).toEqual({});
  });

  it('shows no key to whoever prints the settings', () => {
    const settings = resolveSettings({}, { ...homeWithProfiles(), TEMPORAL_PROFILE: 'cloud' });
    expect(settings.temporalAccess().apiKey).toBe('of-the-profile');
    for (const shown of [JSON.stringify(settings), inspect(settings, { depth: 9 })])
      expect(shown).not.toContain('of-the-');
  });
});
