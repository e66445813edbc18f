type Section = Record<string, unknown>;

/** Each variable that overrides the file, and the value it stands for. An empty variable counts as unset. */
const overrides: { variable: string; path: string; set: (values: Section, text: string) => void }[] = [
  {
    variable: 'TEMPORAL_ADDRESS',
    path: 'temporal.address',
    set: (values, text) => (section(values, 'temporal')['address'] = text),
  },
  {
    variable: 'TEMPORAL_NAMESPACE',
    path: 'temporal.namespace',
    set: (values, text) => (section(values, 'temporal')['namespace'] = text),
  },
  {
    variable: 'TEMPORAL_TLS',
    path: 'temporal.tls',
    set: (values, text) => (section(values, 'temporal')['tls'] = asBoolean(text)),
  },
  {
    variable: 'DATABASE_URL',
    path: 'database.url',
    set: (values, text) => (section(values, 'database')['url'] = text),
  },
  // Set by `ivc up`, which finds a free port when the wanted one is taken.
  {
    variable: 'IVC_METRICS_PORT',
    path: 'worker.metricsPort',
    set: (values, text) => (section(values, 'worker')['metricsPort'] = asNumber(text)),
  },
  // The file names either the embedded service or an endpoint, so the variable replaces the whole section.
  {
    variable: 'OS_IMAGE_ENDPOINT_OVERRIDE',
    path: 'images',
    set: (values, text) => (values['images'] = { endpoint: text }),
  },
];

/**
 * @returns a copy of `values` with the environment laid over it, and which variable stands behind which path. Nothing
 * is checked here.
 */
export function applyEnvironment(
  values: unknown,
  env: NodeJS.ProcessEnv,
): { values: unknown; sources: Record<string, string> } {
  const sources: Record<string, string> = {};
  if (!isSection(values)) return { values, sources };
  const copy = structuredClone(values);
  for (const { variable, path, set } of overrides) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    set(copy, text);
    sources[path] = variable;
  }
  return { values: copy, sources };
}

/** The section `name`, made when it is missing; one that is no section is left for the schema to refuse. */
function section(values: Section, name: string): Section {
  values[name] ??= {};
  const found = values[name];
  return isSection(found) ? found : {};
}

function asBoolean(text: string): unknown {
  if (['1', 'true', 'yes', 'on'].includes(text.toLowerCase())) return true;
  return ['0', 'false', 'no', 'off'].includes(text.toLowerCase()) ? false : text;
}

function asNumber(text: string): unknown {
  return /^\d+$/.test(text) ? Number(text) : text;
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
