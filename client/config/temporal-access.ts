import type * as envconfig from '@temporalio/envconfig';
import { errorMessage } from '../../lib/error-message';
import { isRecord } from '../../workflows/contract/is-record';
import type { TemporalAccess } from '../open-temporal';
import type { ConfigIssue } from './config-error';

type Profile = envconfig.ClientConfigProfile;

/** Settings of a server in Temporal's own variables and files. */
export interface TemporalEnvironment {
  /** Of the profile, without what a variable says. */
  ofProfile: { address?: string; namespace?: string };
  /** Where the profile is named: a variable, or the key of `temporal.yaml`. */
  source: string;
  profile: Profile;
  issues: ConfigIssue[];
}

const NOTHING: TemporalEnvironment = { ofProfile: {}, source: '', profile: {}, issues: [] };

/**
 * Reads the variables `TEMPORAL_*` and, where one of them or `temporal.profile` names it, a profile of `temporal.toml`, as
 * Temporal's command line does. A profile that nobody names is left alone: it is the person's, not the installation's.
 */
export function readTemporalEnvironment(values: unknown, env: NodeJS.ProcessEnv): TemporalEnvironment {
  const said = isRecord(values) && isRecord(values['temporal']) ? values['temporal']['profile'] : undefined;
  const profile = env['TEMPORAL_PROFILE'] || (typeof said === 'string' ? said : undefined);
  const source = ['TEMPORAL_PROFILE', 'TEMPORAL_CONFIG_FILE'].find((name) => env[name]) ?? 'temporal.profile';
  const disableFile = profile === undefined && !env['TEMPORAL_CONFIG_FILE'];
  const overrideEnvVars = variablesFor(env);
  if (disableFile && !Object.keys(overrideEnvVars).some((name) => name.startsWith('TEMPORAL_'))) return NOTHING;
  const options = { profile, disableFile, overrideEnvVars };
  try {
    const { loadClientConfigProfile } = load();
    const { address, namespace } = disableFile
      ? {}
      : loadClientConfigProfile({ ...options, overrideEnvVars: filesOf(env) });
    const found = loadClientConfigProfile(options);
    return { ofProfile: { address, namespace }, source, profile: found, issues: checkKey(found, env) };
  } catch (error) {
    return { ...NOTHING, issues: [fault(source, error)] };
  }
}

/**
 * How a server is reached: `tls` is the key of `temporal.yaml`, which the variables and the profile overrule. An API key
 * alone means TLS, as with Temporal's command line.
 * @throws Error when a certificate or key cannot be read.
 */
export function accessOf({ profile }: TemporalEnvironment, tls: boolean): TemporalAccess {
  if (Object.keys(profile).length === 0) return { tls };
  const { connectionOptions } = load().toClientOptions(profile);
  const { apiKey, metadata } = connectionOptions;
  return { tls: connectionOptions.tls ?? tls, apiKey: typeof apiKey === 'string' ? apiKey : undefined, metadata };
}

/** Loaded where something is to be read: most commands of a stack of one's own need none of it. */
function load(): typeof envconfig {
  return require('@temporalio/envconfig') as typeof envconfig;
}

const TRUE = ['1', 'true', 'yes', 'on'];

/** An empty variable counts as unset, but for the ones that take a header away. */
function variablesFor(env: NodeJS.ProcessEnv): Record<string, string> {
  const found = Object.entries(env).filter(([name, value]) => value !== '' || name.startsWith('TEMPORAL_GRPC_META_'));
  const variables = Object.fromEntries(found.map(([name, value]) => [name, value ?? '']));
  const { TEMPORAL_TLS: tls } = variables;
  return tls === undefined ? variables : { ...variables, TEMPORAL_TLS: String(TRUE.includes(tls.toLowerCase())) };
}

/** Where the files are, and nothing that overrules them. */
function filesOf(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ['HOME', 'XDG_CONFIG_HOME', 'TEMPORAL_CONFIG_FILE'];
  return Object.fromEntries(names.flatMap((name) => (env[name] ? [[name, env[name]]] : [])));
}

/** gRPC would say a key that no header can hold. */
function checkKey({ apiKey }: Profile, env: NodeJS.ProcessEnv): ConfigIssue[] {
  if (apiKey === undefined || /^[\x21-\x7e]+$/.test(apiKey)) return [];
  const variable = ['TEMPORAL_API_KEY', 'TEMPORAL_API_KEY_FILE', 'TEMPORAL_PROFILE'].find((name) => env[name]);
  return [{ path: 'temporal', variable, received: 'an API key with spaces or line breaks', allowed: 'one key alone' }];
}

/** The parser's message goes on with the lines around the fault, which may hold a key. */
function fault(source: string, error: unknown): ConfigIssue {
  const isSyntax = error instanceof Error && 'line' in error;
  return {
    path: 'temporal.profile',
    ...(source.startsWith('TEMPORAL_') && { variable: source }),
    received: isSyntax ? `what is no TOML at line ${String(error.line)}` : errorMessage(error),
    allowed: 'a profile of a readable temporal.toml',
  };
}
