import { Client } from '@temporalio/client';
import { openIdentity, type Identity } from '../activities/keystone/identity';
import type { IdentityConfig } from '../activities/keystone/identity-config';
import { taskQueues } from '../workflows/contract/names';
import { asClientErrors, toClientError, toImageVolumeCacheError } from './errors';
import { connectImages, type ImageCatalog } from './images';
import type * as inventoryModule from './inventory';
import { openTemporal } from './open-temporal';
import { missing, resolveSettings, type ConnectOptions, type Settings } from './settings';

/**
 * A client of one installation. Each part is connected on its first use: to create a volume takes a Temporal server and
 * nothing else.
 */
export interface ImageVolumeCache {
  readonly settings: Settings;
  readonly queues: ReturnType<typeof taskQueues>;
  /** @throws ImageVolumeCacheError `TemporalUnavailable` */
  temporal(): Promise<Client>;
  /** The one reader of the database. @throws ImageVolumeCacheError `NotConfigured` */
  inventory(): Promise<inventoryModule.Inventory>;
  /** @throws ImageVolumeCacheError `NotConfigured`; `CredentialsRefused`, `IdentityUnavailable` where Keystone is asked for the endpoint. */
  images(): Promise<ImageCatalog>;
  /** This caller's account at Keystone; undefined where none is configured. @throws ImageVolumeCacheError `InvalidRequest` */
  identity(): Identity | undefined;
  close(): Promise<void>;
}

/** How long a server that is there may take to answer the first time. */
const CONNECT_TIMEOUT_MS = 5000;

/**
 * @returns a client that is connected to Temporal.
 * @throws ImageVolumeCacheError `TemporalUnavailable`; ConfigError
 */
export async function connectClient(options: ConnectOptions = {}): Promise<ImageVolumeCache> {
  const cache = openClient(options);
  await cache.temporal();
  return cache;
}

/** As `connectClient`, but nothing is connected yet. @throws ConfigError */
export function openClient(options: ConnectOptions = {}): ImageVolumeCache {
  const settings = resolveSettings(options);
  const temporal = once(() => connectTemporal(settings));
  const inventory = once(() => loadAndOpenInventory(settings));
  const identity = once(() => settings.identity && openIdentityOf(settings.identity));
  const images = once(async () => await connectImagesOf(settings, identity.get()));
  return {
    settings,
    queues: taskQueues(settings.taskQueuePrefix),
    temporal: temporal.get,
    inventory: inventory.get,
    images: images.get,
    identity: identity.get,
    close: async () => {
      await Promise.allSettled([
        temporal.opened()?.then((client) => client.connection.close()),
        inventory.opened()?.then((open) => open.close()),
        images.opened()?.then((open) => open.close()),
        identity.opened()?.close(),
      ]);
    },
  };
}

function openIdentityOf(config: IdentityConfig): Identity {
  try {
    return openIdentity(config);
  } catch (error) {
    throw toClientError(error);
  }
}

async function connectImagesOf(settings: Settings, identity: Identity | undefined): Promise<ImageCatalog> {
  if (settings.imagesEndpoint !== undefined) return connectImages(settings.imagesEndpoint, identity);
  if (identity === undefined) missing('image service', 'OS_IMAGE_ENDPOINT_OVERRIDE or OS_CLOUD', settings);
  return connectImages(await asClientErrors(() => identity.findImageEndpoint()), identity);
}

async function connectTemporal(settings: Settings): Promise<Client> {
  const address = settings.address ?? missing('Temporal server', 'TEMPORAL_ADDRESS', settings);
  const connection = openTemporal({ address, tls: settings.tls, connectTimeout: CONNECT_TIMEOUT_MS });
  try {
    await connection.ensureConnected();
  } catch (error) {
    await connection.close();
    throw toImageVolumeCacheError(error, { temporal: address });
  }
  return new Client({ connection, namespace: settings.namespace });
}

/**
 * The code of the database is loaded on its first use: a caller that only creates volumes never does. `require`, since an
 * `import()` would need file extensions that the tests' loader does not know.
 */
function loadAndOpenInventory(settings: Settings): Promise<inventoryModule.Inventory> {
  const { openInventory }: typeof inventoryModule = require('./inventory');
  return openInventory(settings);
}

interface Once<T> {
  get: () => T;
  opened: () => T | undefined;
}

/** Opens at the first use; what failed to open is tried again at the next. */
function once<T>(open: () => T): Once<T> {
  let opened: { value: T } | undefined;
  const get = (): T => {
    opened ??= { value: open() };
    const { value } = opened;
    if (value instanceof Promise) value.catch(() => (opened = undefined));
    return value;
  };
  return { get, opened: () => opened?.value };
}
