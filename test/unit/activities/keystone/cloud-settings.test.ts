import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { readCloudSettings, type CloudSettings } from '../../../../activities/keystone/cloud-settings';
import type { IdentityConfig } from '../../../../activities/keystone/identity-config';
import { Failure } from '../../../../workflows/contract/failures';

const AUTH_URL = 'https://keystone:5000/v3';
const before = process.cwd();
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'ivc-clouds-'));
  const working = join(home, 'working');
  mkdirSync(working);
  process.chdir(working);
});
afterEach(() => {
  process.chdir(before);
  rmSync(home, { recursive: true });
});

function write(path: string, content: object | string): string {
  const whole = join(home, path);
  mkdirSync(dirname(whole), { recursive: true });
  writeFileSync(whole, typeof content === 'string' ? content : stringify(content));
  return whole;
}

function read(config: IdentityConfig = { cloud: 'mine' }, env: NodeJS.ProcessEnv = {}): CloudSettings {
  return readCloudSettings(config, { HOME: home, XDG_CONFIG_DIRS: join(home, 'xdg'), ...env });
}

/** @returns settings of a cloud with `auth` and what stands beside it. */
function settingsOf(auth: object, beside: object = {}): CloudSettings {
  write('.config/openstack/clouds.yaml', { clouds: { mine: { ...beside, auth: { auth_url: AUTH_URL, ...auth } } } });
  return read();
}

function faultOf(work: () => unknown): Failure<'InvalidRequest'>['details'] {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure && error.type === 'InvalidRequest') return error.details as never;
    throw error;
  }
  throw new Error('it was accepted');
}

const password = { username: 'u', password: 'p', project_name: 'p1' };
const named = (url: string) => ({ clouds: { mine: { auth: { ...password, auth_url: url } } } });

describe('clouds.yaml', () => {
  it('is taken from the first place that has it', () => {
    const places = ['xdg/openstack/clouds.yaml', '.config/openstack/clouds.json', '.config/openstack/clouds.yml'];
    for (const [index, path] of [...places, 'working/clouds.yaml', 'named.yaml'].entries()) {
      const url = `https://place-${index}/v3`;
      const env = path === 'named.yaml' ? { OS_CLIENT_CONFIG_FILE: join(home, path) } : {};
      const content = named(url);
      write(path, path.endsWith('.json') ? JSON.stringify(content) : content);
      expect(read(undefined, env).authUrl).toBe(url);
    }
  });

  it('is laid under secure.yaml, which may be in another place', () => {
    write('working/clouds.yaml', { clouds: { mine: { auth: { auth_url: AUTH_URL, username: 'u' } } } });
    write('.config/openstack/secure.yaml', { clouds: { mine: { auth: { password: 'of-secure' } } } });
    expect(read().credentials.secret.reveal()).toBe('of-secure');
    const secure = write('mine.yaml', { clouds: { mine: { auth: { password: 'of-named' } } } });
    expect(read(undefined, { OS_CLIENT_SECURE_FILE: secure }).credentials.secret.reveal()).toBe('of-named');
  });

  it('is laid over the profile of clouds-public.yaml that it names', () => {
    write('working/clouds-public.yaml', {
      'public-clouds': { vendor: { auth: { auth_url: AUTH_URL }, 'region-name': 'R' } },
    });
    write('working/clouds.yaml', { clouds: { mine: { profile: 'vendor', auth: password } } });
    expect(read()).toMatchObject({ authUrl: AUTH_URL, region: 'R' });
    write('working/clouds.yaml', { clouds: { mine: { profile: 'unknown', auth: password } } });
    expect(faultOf(read)).toMatchObject({ field: 'clouds.mine.profile', value: 'unknown' });
  });

  it('that is no YAML is refused by line, and nothing of it is quoted', () => {
    const path = write('working/clouds.yaml', 'clouds:\n  mine:\n    password: [secret\n');
    const fault = faultOf(read);
    expect(fault.field).toBe(path);
    expect(JSON.stringify(fault)).not.toContain('secret');
  });

  it('without the cloud is refused, and names those that it has', () => {
    expect(faultOf(read)).toMatchObject({
      field: 'identity.cloud',
      allowed: expect.stringContaining('/etc/openstack'),
    });
    write('working/clouds.yaml', { clouds: { other: {}, third: {} } });
    expect(faultOf(read).allowed).toContain('other, third');
  });
});

describe('the variables', () => {
  const openrc = {
    OS_AUTH_URL: AUTH_URL,
    OS_USERNAME: 'u',
    OS_PASSWORD: 'p',
    OS_PROJECT_NAME: 'p1',
    OS_INTERFACE: 'internal',
  };

  it('are the cloud envvars, and change no other', () => {
    write('working/clouds.yaml', named('https://file/v3'));
    expect(read({ cloud: 'envvars' }, openrc)).toMatchObject({ authUrl: AUTH_URL, interface: 'internal' });
    expect(read(undefined, openrc)).toMatchObject({ authUrl: 'https://file/v3', interface: 'public' });
    expect(read({ cloud: 'shell' }, { ...openrc, OS_CLOUD_NAME: 'shell' }).authUrl).toBe(AUTH_URL);
  });

  it('are named by what is wrong with them', () => {
    expect(faultOf(() => read({ cloud: 'envvars' }, { ...openrc, OS_PASSWORD: '' })).field).toBe('OS_PASSWORD');
    expect(faultOf(() => read({ cloud: 'envvars' }, { ...openrc, OS_AUTH_TYPE: 'v3totp' }))).toMatchObject({
      field: 'OS_AUTH_TYPE',
      value: 'v3totp',
    });
  });
});

describe('the account', () => {
  it.each([
    [
      password,
      { user: { name: 'u', domain: { id: 'default' } } },
      { project: { name: 'p1', domain: { id: 'default' } } },
    ],
    [{ user_id: 'U', password: 'p', project_id: 'P' }, { user: { id: 'U' } }, { project: { id: 'P' } }],
    [
      { ...password, user_domain_name: 'D', project_domain_id: 'E' },
      { user: { name: 'u', domain: { name: 'D' } } },
      { project: { name: 'p1', domain: { id: 'E' } } },
    ],
    [
      { ...password, domain_name: 'D' },
      { user: { name: 'u', domain: { name: 'D' } } },
      { project: { name: 'p1', domain: { name: 'D' } } },
    ],
    [
      { 'user-id': 'U', password: 5, 'tenant-name': 't', 'project-domain-id': 'E' },
      { user: { id: 'U' } },
      { project: { name: 't', domain: { id: 'E' } } },
    ],
    [{ user_id: 'U', password: 'p', domain_id: 'D' }, {}, { domain: { id: 'D' } }],
    [{ user_id: 'U', password: 'p', system_scope: 'all' }, {}, { system: true }],
    [{ user_id: 'U', password: 'p', trust_id: 'T' }, {}, { trustId: 'T' }],
  ])('%j is a user with a password', (auth, credentials, scope) => {
    expect(settingsOf(auth)).toMatchObject({ credentials: { kind: 'password', ...credentials }, scope });
  });

  it('is said in the section auth, and the project rather beside it, as openstacksdk takes them', () => {
    expect(settingsOf(password, { username: 'beside', project_name: 'beside' })).toMatchObject({
      credentials: { user: { name: 'u' } },
      scope: { project: { name: 'beside' } },
    });
  });

  it('may be an application credential, which has its own project', () => {
    const secret = { application_credential_secret: 's' };
    const byId = settingsOf({ application_credential_id: 'A', ...secret, project_id: 'P' });
    expect(byId).toMatchObject({
      credentials: { kind: 'application-credential', credential: { id: 'A' } },
      scope: undefined,
    });
    const byName = settingsOf(
      { application_credential_name: 'a', user_id: 'U', ...secret },
      { auth_type: 'v3applicationcredential' },
    );
    expect(byName.credentials).toMatchObject({ credential: { name: 'a', user: { id: 'U' } } });
  });

  it('may be a token', () => {
    expect(settingsOf({ token: 't', project_id: 'P' }).credentials.kind).toBe('token');
    expect(settingsOf({ token: 't' }, { auth_type: 'v3token' }).credentials.secret.reveal()).toBe('t');
  });

  it.each([
    [{ password: 'p' }, 'clouds.mine.auth.username'],
    [{ username: 'u' }, 'clouds.mine.auth.password'],
    [{ application_credential_id: 'A' }, 'clouds.mine.auth.application_credential_secret'],
    [{ ...password, auth_url: 'keystone:5000' }, 'clouds.mine.auth.auth_url'],
    [{ ...password, auth_url: 'https://u:p@keystone' }, 'clouds.mine.auth.auth_url'],
  ])('%j is refused by its field', (auth, field) => {
    const fault = faultOf(() => settingsOf(auth));
    expect(fault.field).toBe(field);
    expect(fault.value).not.toContain(':p@');
  });
});

describe('what is chosen', () => {
  it.each(['https://k', 'https://k/', 'https://k/v3', 'https://k/v3/', 'https://k/v2.0'])('%s is v3', (auth_url) => {
    expect(settingsOf({ ...password, auth_url }).authUrl).toBe('https://k/v3');
  });

  it('is a region by its own values, the first one by default', () => {
    const regions = ['One', { name: 'Two', values: { interface: 'admin' } }];
    write('working/clouds.yaml', {
      clouds: { mine: { regions, auth: { ...password, auth_url: 'https://{region_name}' } } },
    });
    expect(read()).toMatchObject({ region: 'One', interface: 'public', authUrl: 'https://one/v3' });
    expect(read({ cloud: 'mine', region: 'Two' })).toMatchObject({ region: 'Two', interface: 'admin' });
    expect(read(undefined, { OS_REGION_NAME: 'Two' }).region).toBe('Two');
    expect(read({ cloud: 'mine', region: 'Two', interface: 'internal' }).interface).toBe('internal');
  });

  it.each([
    [{ interface: 'internalURL' }, 'internal'],
    [{ endpoint_type: 'admin' }, 'admin'],
    [{ interface: 'admin', image_interface: 'internal' }, 'internal'],
  ])('is an interface: %j', (beside, expected) => {
    expect(settingsOf(password, beside).interface).toBe(expected);
  });

  it('is an endpoint in place of the catalogue', () => {
    expect(settingsOf(password, { image_endpoint_override: 'https://glance' }).imageEndpoint).toBe('https://glance');
  });

  it.each([
    [{}, { ca: undefined }],
    [{ insecure: true }, { rejectUnauthorized: false }],
    [{ insecure: 'True' }, { rejectUnauthorized: false }],
    [{ verify: false }, { rejectUnauthorized: false }],
    [{ insecure: 'no' }, { ca: undefined }],
  ])('verifies certificates unless it is said: %j', (beside, tls) => {
    expect(settingsOf(password, beside).tls).toEqual({ cert: undefined, key: undefined, ...tls });
  });

  it('is a bundle of certificates', () => {
    const cacert = write('ca.pem', 'PEM');
    expect(settingsOf(password, { cacert }).tls.ca).toBe('PEM');
    expect(faultOf(() => settingsOf(password, { cacert: `${cacert}.no` })).field).toBe('clouds.mine.cacert');
  });
});

describe('an identity in temporal.yaml', () => {
  it('has its secret in a file or in the environment', () => {
    const written = { authUrl: 'https://k', userId: 'U', projectId: 'P' };
    const secretFile = write('password', 'of-file\n');
    expect(read({ ...written, secretFile }).credentials.secret.reveal()).toBe('of-file');
    expect(read(written, { OS_PASSWORD: 'of-env' }).credentials.secret.reveal()).toBe('of-env');
    expect(faultOf(() => read(written)).field).toContain('identity.secretFile');
    expect(faultOf(() => read({ ...written, secretFile: `${secretFile}.no` })).field).toBe('identity.secretFile');
  });

  it('names its faults by its own keys', () => {
    expect(faultOf(() => read({ authUrl: 'https://k' }, { OS_PASSWORD: 'p' })).field).toBe('identity.username');
  });
});
