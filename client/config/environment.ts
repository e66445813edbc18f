import { isRecord } from '../../workflows/contract/is-record';
import type { TemporalEnvironment } from './temporal-access';

type Section = Record<string, unknown>;

/** Each variable that overrides the file, and the value it stands for. An empty variable counts as unset. */
const overrides: { variable: string; path: string; parse?: (text: string) => unknown }[] = [
  // `temporal-access.ts` reads the other variables TEMPORAL_* of a server.
  { variable: 'TEMPORAL_ADDRESS', path: 'temporal.address' },
  { variable: 'TEMPORAL_NAMESPACE', path: 'temporal.namespace' },
  { variable: 'TEMPORAL_TLS', path: 'temporal.tls', parse: asBoolean },
  { variable: 'DATABASE_URL', path: 'database.url' },
  { variable: 'IVC_METRICS_PORT', path: 'worker.metricsPort', parse: asNumber },
  { variable: 'IVC_LIVENESS_PORT', path: 'worker.livenessPort', parse: asNumber },
  { variable: 'IVC_API_LISTEN', path: 'api.listen' },
  // The file names either the embedded service or an endpoint, so the variable replaces the whole section.
  { variable: 'OS_IMAGE_ENDPOINT_OVERRIDE', path: 'images', parse: (endpoint) => ({ endpoint }) },
];

/**
 * @param profile Temporal's, which lies over the file and below the variables.
 * @returns a copy of `values` with the environment laid over it, and which variable stands behind which path. Nothing
 * is checked here.
 */
export function applyEnvironment(
  values: unknown,
  env: NodeJS.ProcessEnv,
  { ofProfile, source }: Pick<TemporalEnvironment, 'ofProfile' | 'source'>,
): { values: unknown; sources: Record<string, string> } {
  const sources: Record<string, string> = {};
  if (!isRecord(values)) return { values, sources };
  const copy = structuredClone(values);
  for (const [key, value] of Object.entries(ofProfile)) {
    if (value === undefined) continue;
    setAt(copy, ['temporal', key], value);
    sources[`temporal.${key}`] = source;
  }
  for (const { variable, path, parse } of overrides) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    setAt(copy, path.split('.'), parse === undefined ? text : parse(text));
    sources[path] = variable;
  }
  applyLibpq(copy, sources, env);
  applyIdentity(copy, sources, env);
  return { values: copy, sources };
}

/** A host that libpq's variables name is a database of one's own, unless an URL names one; `db/url.ts` reads the rest. */
function applyLibpq(copy: Section, sources: Record<string, string>, env: NodeJS.ProcessEnv): void {
  const database = isRecord(copy['database']) ? copy['database'] : {};
  if (!env['PGHOST'] || (database['url'] ?? 'embedded') !== 'embedded') return;
  setAt(copy, ['database', 'url'], 'postgres://');
  sources['database.url'] = 'PGHOST';
}

/**
 * As openstacksdk has it, `OS_CLOUD` names a cloud of `clouds.yaml`, and without it `OS_AUTH_URL` and its like are one. The images are then those of
 * the catalogue, unless they have an endpoint; as they are where the file has an identity and says nothing of images.
 */
function applyIdentity(copy: Section, sources: Record<string, string>, env: NodeJS.ProcessEnv): void {
  const variable = ['OS_CLOUD', 'OS_AUTH_URL'].find((name) => env[name]);
  if (variable !== undefined) {
    copy['identity'] = { cloud: env['OS_CLOUD'] || env['OS_CLOUD_NAME'] || 'envvars' };
    sources['identity'] = variable;
  }
  if (copy['identity'] === undefined || (isRecord(copy['images']) && 'endpoint' in copy['images'])) return;
  if (variable === undefined && copy['images'] !== undefined) return;
  copy['images'] = { service: 'catalogue' };
  if (variable !== undefined) sources['images'] = variable;
}

/** Makes a section that is missing; one that is no section is left for the schema to refuse. */
function setAt(section: Section, [name = '', ...rest]: string[], value: unknown): void {
  if (rest.length === 0) section[name] = value;
  else {
    section[name] ??= {};
    const next = section[name];
    if (isRecord(next)) setAt(next, rest, value);
  }
}

function asBoolean(text: string): unknown {
  if (['1', 'true', 'yes', 'on'].includes(text.toLowerCase())) return true;
  return ['0', 'false', 'no', 'off'].includes(text.toLowerCase()) ? false : text;
}

function asNumber(text: string): unknown {
  return /^\d+$/.test(text) ? Number(text) : text;
}
