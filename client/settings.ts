import type { IdentityConfig } from '../activities/keystone/identity-config';
import { chooseDataDirectory } from './config/data-directory';
import { findLastEnding } from './config/last-ending';
import { findEndpoints, type Endpoints } from './config/endpoints';
import { loadConfig, type LoadedConfig } from './config/load';
import { ImageVolumeCacheError } from './errors';
import type { TemporalAccess } from './open-temporal';

/** Settings of the caller; the rest is discovered. */
export interface ConnectOptions {
  /** host:port of the Temporal server; all that is needed to create a volume. */
  address?: string;
  namespace?: string;
  /** Set before all task queues of the stack. */
  taskQueuePrefix?: string;
  /** `true`, or certificates and the server's name as `@temporalio/client` has them. Default: what TEMPORAL_TLS… say. */
  tls?: TemporalAccess['tls'];
  /** Default: what TEMPORAL_API_KEY or its profile say. */
  apiKey?: string;
  /** Of the inventory, for what only reads. */
  databaseUrl?: string;
  imagesEndpoint?: string;
  /** Path of a `temporal.yaml`. */
  config?: string;
  /** Of the embedded stack whose `endpoints.json` is asked. */
  dataDirectory?: string;
}

/** Where the parts are; one that nobody named is undefined. */
export interface Settings {
  address: string | undefined;
  namespace: string;
  taskQueuePrefix: string;
  /** How the Temporal server is known and knows us. A function, so that nothing prints it with the rest. */
  temporalAccess: () => TemporalAccess;
  databaseUrl: string | undefined;
  imagesEndpoint: string | undefined;
  /** Of this caller at the image service; undefined: it is asked without a token. */
  identity: IdentityConfig | undefined;
  uiUrl: string | undefined;
  dataDirectory: string;
  /** Of the running embedded stack, when it is the one that is meant. */
  endpoints: Endpoints | undefined;
  loaded: LoadedConfig;
}

/**
 * Each part from the first that names it: the options, the environment, the configuration file that either names,
 * `endpoints.json` of the
 * running stack, the default configuration file. A stack is left aside when its Temporal server is not the one that was
 * asked for.
 * @throws ConfigError
 */
export function resolveSettings(options: ConnectOptions = {}, env: NodeJS.ProcessEnv = process.env): Settings {
  const dataDirectory = chooseDataDirectory(options.dataDirectory, env);
  const loaded = loadConfig({ path: options.config, data: options.dataDirectory, env });
  const named = namedParts({ ...options, config: options.config ?? env['IVC_CONFIG'] }, loaded);
  const running = findEndpoints(dataDirectory);
  const endpoints = named.address === undefined || named.address === running?.temporal.address ? running : undefined;
  const { temporal, database } = loaded.config;
  return {
    address: named.address ?? endpoints?.temporal.address ?? unlessEmbedded(temporal.address),
    namespace: named.namespace ?? endpoints?.temporal.namespace ?? temporal.namespace,
    taskQueuePrefix: options.taskQueuePrefix ?? endpoints?.temporal.taskQueuePrefix ?? temporal.taskQueuePrefix,
    temporalAccess: () => accessFor(options, endpoints?.temporal.embedded === true ? {} : loaded.temporalAccess()),
    databaseUrl: named.databaseUrl ?? endpoints?.database.url ?? unlessEmbedded(database.url),
    ...imagesOf(loaded, { named, endpoints }),
    uiUrl: endpoints?.temporal.uiUrl,
    dataDirectory,
    endpoints,
    loaded,
  };
}

/** @param found what is said elsewhere. A server that the stack has started itself knows neither keys nor certificates. */
function accessFor({ tls, apiKey }: ConnectOptions, found: TemporalAccess): TemporalAccess {
  return { ...found, ...(tls !== undefined && { tls }), ...(apiKey !== undefined && { apiKey }) };
}

/** A service that the stack has started itself knows no tokens. */
function imagesOf(
  { config: { images, identity } }: LoadedConfig,
  { named, endpoints }: { named: NamedParts; endpoints: Endpoints | undefined },
): Pick<Settings, 'imagesEndpoint' | 'identity'> {
  if (named.imagesEndpoint === CATALOGUE) return { imagesEndpoint: undefined, identity };
  const running = endpoints?.images;
  const imagesEndpoint =
    named.imagesEndpoint ?? running?.endpoint ?? ('endpoint' in images ? images.endpoint : undefined);
  const isEmbedded = running?.embedded === true && running.endpoint === imagesEndpoint;
  return { imagesEndpoint, identity: isEmbedded ? undefined : identity };
}

/** @throws ImageVolumeCacheError which says how the part can be named or started. */
export function missing(part: string, variable: string, { address, dataDirectory, endpoints }: Settings): never {
  const message =
    address === undefined || endpoints !== undefined
      ? `no ${part} is configured and no stack of ${dataDirectory} is running${describeEnding(dataDirectory)}: start one with \`ivc up\`, or set ${variable}`
      : `no ${part} is known for the Temporal server at ${address}: set ${variable}`;
  throw new ImageVolumeCacheError({ type: 'NotConfigured', message, details: { part, variable, dataDirectory } });
}

/** @returns why a stack that ran is no more, as the middle of a sentence. */
function describeEnding(dataDirectory: string): string {
  const last = findLastEnding(dataDirectory);
  return last === undefined
    ? ''
    : ` (it stopped at ${last.at}, since its part ${last.part} had ended with ${last.ending}; ${last.logPath} says more)`;
}

type NamedParts = Pick<ConnectOptions, 'address' | 'namespace' | 'databaseUrl' | 'imagesEndpoint'>;

/** The parts that the caller named, by option, environment variable or its own configuration file. */
function namedParts(options: ConnectOptions, { config, sources }: LoadedConfig): NamedParts {
  const chosen = (path: string): boolean => options.config !== undefined || sources[path] !== undefined;
  const { temporal, database, images } = config;
  return {
    address: options.address ?? (chosen('temporal.address') ? unlessEmbedded(temporal.address) : undefined),
    namespace: options.namespace ?? (sources['temporal.namespace'] === undefined ? undefined : temporal.namespace),
    databaseUrl: options.databaseUrl ?? (chosen('database.url') ? unlessEmbedded(database.url) : undefined),
    imagesEndpoint: options.imagesEndpoint ?? (chosen('images') ? endpointOrCatalogue(images) : undefined),
  };
}

/** In place of an endpoint: the one that the catalogue names. */
const CATALOGUE = 'catalogue';

function endpointOrCatalogue(images: LoadedConfig['config']['images']): string | undefined {
  if ('endpoint' in images) return images.endpoint;
  return images.service === CATALOGUE ? CATALOGUE : undefined;
}

function unlessEmbedded(value: string): string | undefined {
  return value === 'embedded' ? undefined : value;
}
