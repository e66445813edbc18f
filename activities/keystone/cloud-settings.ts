import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { errorMessage } from '../../lib/error-message';
import { Secret } from '../../lib/secret';
import { withSecretFiles } from '../../lib/secret-files';
import type { ServiceTls } from '../../lib/service-tls';
import { Failure } from '../../workflows/contract/failures';
import { isRecord } from '../../workflows/contract/is-record';
import { findCloud, type FoundCloud } from './find-cloud';
import { endpointInterfaces, type EndpointInterface, type IdentityConfig } from './identity-config';

/** By id, or by a name within a domain. */
export type Named = { id: string } | { name: string; domain: { id: string } | { name: string } };

export type Credentials =
  | { kind: 'password'; user: Named; secret: Secret }
  | { kind: 'token'; secret: Secret }
  | { kind: 'application-credential'; credential: { id: string } | { name: string; user: Named }; secret: Secret };

/** Scope of a token; undefined: the one that Keystone gives by itself. */
export type Scope =
  { project: Named } | { domain: { id: string } | { name: string } } | { system: true } | { trustId: string };

export interface CloudSettings {
  /** With its version, without a slash at its end. */
  authUrl: string;
  credentials: Credentials;
  scope: Scope | undefined;
  region: string | undefined;
  interface: EndpointInterface;
  /** `image_endpoint_override`, which no catalogue changes. */
  imageEndpoint: string | undefined;
  /** Of Keystone and of the services in its catalogue. */
  tls: ServiceTls;
  /** Where the region stands, for messages. */
  regionField: string;
}

/** Where a name is said without its domain, as in most clouds there is no other. */
const DEFAULT_DOMAIN = { id: 'default' };

/** Reads what is configured about a cloud, from its files and the environment as they are now. @throws Failure InvalidRequest, which names the field. */
export function readCloudSettings(identity: IdentityConfig, variables: NodeJS.ProcessEnv): CloudSettings {
  const env = withSecretFiles(variables, (variable, reason) => invalid(variable, reason, 'a readable file'));
  const cloud = findCloud(identity, env);
  const fields = fieldsOf(cloud);
  const region = fields.find('region_name');
  const scope = scopeOf(fields);
  return {
    authUrl: parseAuthUrl(fields, region),
    credentials: credentialsOf(fields),
    scope,
    region,
    interface: parseInterface(fields),
    imageEndpoint: fields.find('image_endpoint_override', 'image_endpoint'),
    tls: readTls(fields, env),
    regionField: cloud.nameOf('region_name'),
  };
}

interface Fields {
  /** @returns the value of the first key that has one, in the section `auth` or beside it. */
  find(...keys: string[]): string | undefined;
  get(key: string, allowed: string): string;
  isTrue(key: string): boolean;
  isFalse(key: string): boolean;
  nameOf: FoundCloud['nameOf'];
}

/** Keys that openstacksdk moves into `auth`, over those that are there. */
const besideFirst = /^(?:project|tenant|domain|user_domain|token|auth_token)(?:_|$)/;

function fieldsOf({ entry, nameOf }: FoundCloud): Fields {
  const auth = isRecord(entry['auth']) ? entry['auth'] : {};
  const textOf = (value: unknown): string | undefined =>
    ['string', 'number', 'boolean'].includes(typeof value) && value !== '' ? String(value) : undefined;
  const find = (...keys: string[]): string | undefined => {
    for (const key of keys) {
      const [inAuth, beside] = [textOf(auth[key]), textOf(entry[key])];
      const found = besideFirst.test(key) ? (beside ?? inAuth) : (inAuth ?? beside);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    find,
    get(key, allowed) {
      const found = find(key);
      if (found === undefined) throw invalid(nameOf(key), 'nothing', allowed);
      return found;
    },
    isTrue: (key) => find(key)?.toLowerCase() === 'true',
    isFalse: (key) => find(key)?.toLowerCase() === 'false',
    nameOf,
  };
}

function parseAuthUrl(fields: Fields, region: string | undefined): string {
  const allowed = 'an http or https URL of Keystone without credentials';
  const text = fields.get('auth_url', allowed).replaceAll('{region_name}', region ?? '');
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw invalid(fields.nameOf('auth_url'), text.replace(/^.*@/, '…@'), allowed);
  if (url.username !== '' || url.password !== '')
    throw invalid(fields.nameOf('auth_url'), `${url.protocol}//${url.host} with credentials`, allowed);
  const path = url.pathname.replace(/\/+$/, '').replace(/\/v2\.0$/, '');
  return `${url.origin}${path.endsWith('/v3') ? path : `${path}/v3`}`;
}

const authTypes: Record<string, Credentials['kind']> = {
  password: 'password',
  v3password: 'password',
  token: 'token',
  v3token: 'token',
  v3applicationcredential: 'application-credential',
};

function credentialsOf(fields: Fields): Credentials {
  switch (kindOf(fields)) {
    case 'password':
      return {
        kind: 'password',
        user: userOf(fields),
        secret: new Secret(fields.get('password', 'the password of the user')),
      };
    case 'token':
      return {
        kind: 'token',
        secret: new Secret(fields.find('token', 'auth_token') ?? fields.get('token', 'a token')),
      };
    case 'application-credential':
      return {
        kind: 'application-credential',
        credential: credentialOf(fields),
        secret: new Secret(fields.get('application_credential_secret', 'the secret of the application credential')),
      };
  }
}

/** Where nothing says how, what is there says it. */
function kindOf(fields: Fields): Credentials['kind'] {
  const type = fields.find('auth_type', 'auth_plugin');
  if (type === undefined) {
    if (fields.find('application_credential_id', 'application_credential_name') !== undefined)
      return 'application-credential';
    return fields.find('token', 'auth_token') !== undefined && fields.find('password') === undefined
      ? 'token'
      : 'password';
  }
  const kind = authTypes[type];
  if (kind === undefined)
    throw invalid(fields.nameOf('auth_type'), type, `one of ${Object.keys(authTypes).join(', ')}`);
  return kind;
}

function credentialOf(fields: Fields): { id: string } | { name: string; user: Named } {
  const id = fields.find('application_credential_id');
  if (id !== undefined) return { id };
  const name = fields.find('application_credential_name');
  if (name !== undefined) return { name, user: userOf(fields) };
  throw invalid(fields.nameOf('application_credential_id'), 'nothing', 'the id, or the name and the user');
}

function userOf(fields: Fields): Named {
  const user = namedBy(fields, { ids: ['user_id'], names: ['username', 'user_name'], domain: 'user' });
  if (user !== undefined) return user;
  throw invalid(fields.nameOf('username'), 'nothing', 'the name or the id of the user');
}

function scopeOf(fields: Fields): Scope | undefined {
  // An application credential is for one project, and a second scope is refused.
  if (kindOf(fields) === 'application-credential') return undefined;
  const trustId = fields.find('trust_id');
  if (trustId !== undefined) return { trustId };
  if (fields.find('system_scope') !== undefined) return { system: true };
  const ids = ['project_id', 'tenant_id'];
  const project = namedBy(fields, { ids, names: ['project_name', 'tenant_name'], domain: 'project' });
  if (project !== undefined) return { project };
  const domain = domainBy(fields, 'domain');
  return domain === undefined ? undefined : { domain };
}

function namedBy(
  fields: Fields,
  { ids, names, domain }: { ids: string[]; names: string[]; domain: 'user' | 'project' },
): Named | undefined {
  const id = fields.find(...ids);
  if (id !== undefined) return { id };
  const name = fields.find(...names);
  if (name === undefined) return undefined;
  const found =
    domainBy(fields, `${domain}_domain`) ?? domainBy(fields, 'domain') ?? domainBy(fields, 'default_domain');
  return { name, domain: found ?? DEFAULT_DOMAIN };
}

function domainBy(fields: Fields, key: string): { id: string } | { name: string } | undefined {
  const id = fields.find(`${key}_id`);
  const name = fields.find(`${key}_name`);
  if (id !== undefined) return { id };
  return name === undefined ? undefined : { name };
}

function parseInterface(fields: Fields): EndpointInterface {
  const keys = ['image_interface', 'image_endpoint_type', 'interface', 'endpoint_type'];
  const said = fields.find(...keys) ?? 'public';
  const found = endpointInterfaces.find((known) => known === said.replace(/URL$/, ''));
  if (found === undefined) throw invalid(fields.nameOf('interface'), said, `one of ${endpointInterfaces.join(', ')}`);
  return found;
}

function readTls(fields: Fields, env: NodeJS.ProcessEnv): ServiceTls {
  const read = (key: string): string | undefined => {
    const path = fields.find(key)?.replace(/^~(?=\/)/, env['HOME'] || homedir());
    if (path === undefined) return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw invalid(fields.nameOf(key), errorMessage(error), 'a readable file of PEM');
    }
  };
  const client = { cert: read('cert'), key: read('key') };
  if (fields.isTrue('insecure') || fields.isFalse('verify')) return { ...client, rejectUnauthorized: false };
  return { ...client, ca: read('cacert') };
}

function invalid(field: string, value: string, allowed: string): Failure {
  return new Failure('InvalidRequest', { field, value, allowed });
}
