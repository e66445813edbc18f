import { readFileSync } from 'node:fs';
import { errorMessage } from '../../lib/error-message';
import { Failure } from '../../workflows/contract/failures';
import { isRecord } from '../../workflows/contract/is-record';
import { mergeEntries, readCloudFiles, type CloudEntry, type CloudFiles } from './cloud-files';
import type { IdentityConfig, NamedCloud, WrittenCloud } from './identity-config';

export interface FoundCloud {
  entry: CloudEntry;
  /** @returns where a key stands, for messages: `clouds.mycloud.auth.password`, `OS_PASSWORD`. */
  nameOf: (key: string) => string;
}

/** openstacksdk's name of the cloud of the variables, unless OS_CLOUD_NAME gives one. */
const ENVIRONMENT = 'envvars';
/** Variables of test runners and loggers. */
const NO_SETTING = /^OS_(?:TEST|STD|LOG)/;

/** @returns what is said of a cloud, in one piece, as openstacksdk would find it. @throws Failure InvalidRequest. */
export function findCloud(identity: IdentityConfig, env: NodeJS.ProcessEnv): FoundCloud {
  return 'cloud' in identity ? findNamedCloud(identity, env) : ofWrittenCloud(identity, env);
}

function findNamedCloud({ cloud, region, interface: chosen }: NamedCloud, env: NodeJS.ProcessEnv): FoundCloud {
  const ofEnvironment = cloud === (env['OS_CLOUD_NAME'] || ENVIRONMENT);
  const files = readCloudFiles(env);
  const own = ofEnvironment ? readEnvironment(env) : files.clouds[cloud];
  if (own === undefined) throw unknownCloud(cloud, files);
  const whole = mergeEntries(profileOf(cloud, own, files), own);
  const regionName = region ?? (env['OS_REGION_NAME'] || undefined);
  const entry = mergeEntries(withRegion(whole, regionName), chosen === undefined ? {} : { interface: chosen });
  const nameOf = (key: string): string =>
    ofEnvironment ? `OS_${key.toUpperCase()}` : `clouds.${cloud}.${isOfAuth(key) ? 'auth.' : ''}${key}`;
  return { entry, nameOf };
}

function unknownCloud(cloud: string, { clouds, path, searched }: CloudFiles): Failure {
  const allowed =
    path === undefined
      ? `a cloud of a clouds.yaml; there is none at ${searched.join(', ')}`
      : `a cloud of ${path}: ${Object.keys(clouds).join(', ') || 'it has none'}`;
  return new Failure('InvalidRequest', { field: 'identity.cloud', value: cloud, allowed });
}

function readEnvironment(env: NodeJS.ProcessEnv): CloudEntry {
  const set = Object.entries(env).filter(
    ([variable, value]) => variable.startsWith('OS_') && !NO_SETTING.test(variable) && value !== '',
  );
  return Object.fromEntries(set.map(([variable, value]) => [variable.slice('OS_'.length).toLowerCase(), value]));
}

function profileOf(cloud: string, own: CloudEntry, { profiles }: CloudFiles): CloudEntry {
  const name = own['profile'] ?? own['cloud'];
  if (typeof name !== 'string' || name === ENVIRONMENT) return {};
  const profile = profiles[name];
  if (profile !== undefined) return profile;
  const allowed = `a profile of clouds-public.yaml: ${Object.keys(profiles).join(', ') || 'it is not there'}`;
  throw new Failure('InvalidRequest', { field: `clouds.${cloud}.profile`, value: name, allowed });
}

/** `regions` is a list of names, or of names with values of their own; the first is meant when none is named. */
function withRegion(entry: CloudEntry, wanted: string | undefined): CloudEntry {
  const { regions, ...rest } = entry;
  const listed = (Array.isArray(regions) ? regions : []).map((region: unknown) =>
    isRecord(region)
      ? { name: String(region['name']), values: region['values'] }
      : { name: String(region), values: {} },
  );
  const region = wanted === undefined ? listed[0] : listed.find(({ name }) => name === wanted);
  const name = wanted ?? region?.name;
  const values = isRecord(region?.values) ? region.values : {};
  return mergeEntries(mergeEntries(rest, values), name === undefined ? {} : { region_name: name });
}

const authKeys =
  /^(?:auth_url|username|user_|password|project_|tenant_|domain_|application_credential_|token|trust_|system_)/;
const isOfAuth = (key: string): boolean => authKeys.test(key);

function ofWrittenCloud(identity: WrittenCloud, env: NodeJS.ProcessEnv): FoundCloud {
  const { region, interface: chosen, secretFile, cacert, insecure, ...auth } = identity;
  const ofCredential = [identity.applicationCredentialId, identity.applicationCredentialName].some(Boolean);
  const secretKey = ofCredential ? 'application_credential_secret' : 'password';
  const secret = secretFile === undefined ? env[`OS_${secretKey.toUpperCase()}`] : readSecretFile(secretFile);
  const token = ofCredential || identity.username || identity.userId ? undefined : env['OS_TOKEN'];
  const entry = {
    auth: { ...mapKeys(auth), [secretKey]: secret, token },
    region_name: region,
    interface: chosen,
    cacert,
    insecure,
  };
  const nameOf = (key: string): string =>
    key === secretKey ? `identity.secretFile, or OS_${key.toUpperCase()}` : `identity.${camelCase(key)}`;
  return { entry, nameOf };
}

/** A line's end at its end is the editor's. */
function readSecretFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new Failure(
      'InvalidRequest',
      { field: 'identity.secretFile', value: errorMessage(error), allowed: 'a readable file' },
      { cause: error },
    );
  }
}

function mapKeys(record: object): CloudEntry {
  const snakeCase = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(record).map(([key, value]: [string, unknown]) => [snakeCase(key), value]));
}

function camelCase(key: string): string {
  return key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
