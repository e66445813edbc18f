import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { LineCounter, parseDocument, type Document } from 'yaml';
import { ConfigError, type ConfigIssue } from './config-error';
import { crossCheck } from './cross-check';
import { chooseDataDirectory, expandHome } from './data-directory';
import { describeIssues, describeSection } from './describe-issues';
import { applyEnvironment } from './environment';
import { packageRoot } from './package-root';
import { configSchema, type BackendConfig, type Config } from './schema';
import { errorMessage } from '../../lib/error-message';
import { withSecretFiles } from '../../lib/secret-files';
import type { TemporalAccess } from '../open-temporal';
import { accessOf, readTemporalEnvironment } from './temporal-access';

/** A configuration in which nothing is left to guess: directories are absolute and the default backend is named. */
export type ResolvedConfig = Omit<Config, 'scratch' | 'backends' | 'defaultBackend'> & {
  scratch: Config['scratch'] & { directory: string };
  backends: Record<string, ResolvedBackend>;
  defaultBackend: string;
};

/** All its paths are absolute. */
export type ResolvedBackend =
  (Extract<BackendConfig, { driver: 'file' }> & { directory: string }) | Extract<BackendConfig, { driver: 'rbd' }>;

export interface LoadedConfig {
  config: ResolvedConfig;
  /** The file that was read. */
  path: string;
  dataDirectory: string;
  /**
   * The environment variable behind each value that did not come from the file: `{ 'temporal.address':
   * 'TEMPORAL_ADDRESS' }`.
   */
  sources: Record<string, string>;
  /** How the Temporal server is known and knows us. A function, so that nothing prints it with the rest. */
  temporalAccess: () => TemporalAccess;
}

export interface LoadConfigOptions {
  /** Default: `$IVC_CONFIG`, else `./temporal.yaml`, else the file that comes with the package. */
  path?: string;
  /** The option `--data`; default as `chooseDataDirectory`. */
  data?: string;
  env?: NodeJS.ProcessEnv;
}

/** Reads `temporal.yaml`, lays the environment over it and checks all of it.
 *  @throws ConfigError with every fault at once; repeating helps only after somebody changed the file or the environment. */
export function loadConfig({ path, data, env = process.env }: LoadConfigOptions = {}): LoadedConfig {
  const file = chooseConfigFile(path, env);
  const lines = new LineCounter();
  const document = parseFile(file, lines);
  const written: unknown = document.toJS() ?? {};
  const environment = withSecretFiles(env, (variable, reason) => unreadableSecret(file, { variable, reason }));
  const temporal = readTemporalEnvironment(written, environment);
  const { values, sources } = applyEnvironment(written, environment, temporal);
  const parsed = configSchema.safeParse(values, { error: describeSection });
  const issues = [
    ...(parsed.success ? [] : describeIssues(parsed.error.issues, values, configSchema)),
    ...crossCheck(values),
    ...temporal.issues,
  ];
  if (!parsed.success || issues.length > 0) {
    throw new ConfigError(
      file,
      issues.map((issue) => locate(issue, { sources, document, lines })),
    );
  }
  const dataDirectory = chooseDataDirectory(data, env);
  const access = readAccess(file, () => accessOf(temporal, parsed.data.temporal.tls));
  return {
    config: resolveDirectories(parsed.data, { file, dataDirectory }),
    path: file,
    dataDirectory,
    sources,
    temporalAccess: () => access,
  };
}

function unreadableSecret(file: string, { variable, reason }: { variable: string; reason: string }): ConfigError {
  return new ConfigError(file, [
    { path: 'the environment', variable, received: reason, allowed: 'the path of a readable file' },
  ]);
}

function readAccess(file: string, read: () => TemporalAccess): TemporalAccess {
  try {
    return read();
  } catch (error) {
    const allowed = 'readable certificates and keys (TEMPORAL_TLS_…, or of the profile)';
    throw new ConfigError(file, [{ path: 'temporal', received: errorMessage(error), allowed }]);
  }
}

function chooseConfigFile(path: string | undefined, env: NodeJS.ProcessEnv): string {
  const named = path ?? env['IVC_CONFIG'];
  if (named !== undefined && named !== '') return resolve(expandHome(named));
  const here = resolve('temporal.yaml');
  return existsSync(here) ? here : join(packageRoot(), 'temporal.yaml');
}

function parseFile(file: string, lineCounter: LineCounter): Document.Parsed {
  const document = parseDocument(readText(file), { lineCounter, prettyErrors: false });
  if (document.errors.length === 0) return document;
  throw new ConfigError(
    file,
    document.errors.map((error) => ({
      path: '',
      line: lineCounter.linePos(error.pos[0]).line,
      received: error.message,
      allowed: 'YAML',
    })),
  );
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(file, [{ path: '', received: errorMessage(error), allowed: 'a readable file' }]);
  }
}

function locate(
  issue: ConfigIssue,
  { sources, document, lines }: { sources: Record<string, string>; document: Document; lines: LineCounter },
): ConfigIssue {
  const variable = Object.entries(sources).find(
    ([path]) => issue.path === path || issue.path.startsWith(`${path}.`),
  )?.[1];
  if (variable !== undefined) return { ...issue, variable };
  const node = issue.path === '' ? undefined : document.getIn(issue.path.split('.'), true);
  const offset = hasRange(node) ? node.range?.[0] : undefined;
  return offset === undefined ? issue : { ...issue, line: lines.linePos(offset).line };
}

function hasRange(node: unknown): node is { range?: [number, number, number] | null } {
  return typeof node === 'object' && node !== null && 'range' in node;
}

/** Relative paths are relative to the file; directories that it leaves out are in the data directory. */
function resolveDirectories(
  config: Config,
  { file, dataDirectory }: { file: string; dataDirectory: string },
): ResolvedConfig {
  const absolute = (directory: string | undefined, fallback: string) =>
    directory === undefined ? join(dataDirectory, fallback) : resolve(dirname(file), expandHome(directory));
  const backends = Object.entries(config.backends).map(([name, backend]): [string, ResolvedBackend] => {
    if (backend.driver === 'file')
      return [name, { ...backend, directory: absolute(backend.directory, join('volumes', name)) }];
    const { conf, keyring } = backend;
    return [name, { ...backend, conf: absolute(conf, conf), keyring: keyring && absolute(keyring, keyring) }];
  });
  const { identity, policy, api } = config;
  const { certificates, authorities } = policy.signatures;
  const fileAt = (path: string) => absolute(path, path);
  const trusted =
    typeof certificates === 'object'
      ? Object.fromEntries(Object.entries(certificates).map(([id, path]) => [id, fileAt(path)]))
      : certificates && fileAt(certificates);
  const signatures = { ...policy.signatures, certificates: trusted, authorities: authorities.map(fileAt) };
  const { secretFile, cacert } = identity && 'authUrl' in identity ? identity : {};
  const written = {
    secretFile: secretFile && absolute(secretFile, secretFile),
    cacert: cacert && absolute(cacert, cacert),
  };
  return {
    ...config,
    scratch: { ...config.scratch, directory: absolute(config.scratch.directory, 'scratch') },
    identity: identity && 'authUrl' in identity ? { ...identity, ...written } : identity,
    policy: { ...policy, signatures },
    api: { ...api, tls: api.tls && filesOf(api.tls, fileAt) },
    backends: Object.fromEntries(backends),
    defaultBackend: config.defaultBackend ?? backends[0]?.[0] ?? '',
  };
}

function filesOf<Files extends object>(files: Files, at: (path: string) => string): Files {
  return Object.fromEntries(Object.entries(files).map(([key, file]) => [key, at(String(file))])) as Files;
}
