import type { Client } from '@temporalio/client';
import type * as identityModule from '../activities/keystone/identity';
import type { IdentityConfig } from '../activities/keystone/identity-config';
import { taskQueues } from '../workflows/contract/names';
import type * as temporalModule from './connect-temporal';
import { asClientErrors, toClientError } from './errors';
import type * as imagesModule from './images';
import type * as inventoryModule from './inventory';
import { findTracing } from './tracing';
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
  /** Whose creates a worker of this very process begins at once (an eager start), over the connection that both share; undefined: the server hands them on. */
  readonly eager?: Client;
  /** The one reader of the database. @throws ImageVolumeCacheError `NotConfigured` */
  inventory(): Promise<inventoryModule.Inventory>;
  /** @throws ImageVolumeCacheError `NotConfigured`; `CredentialsRefused`, `IdentityUnavailable` where Keystone is asked for the endpoint. */
  images(): Promise<imagesModule.ImageCatalog>;
  /** This caller's account at Keystone; undefined where none is configured. @throws ImageVolumeCacheError `InvalidRequest` */
  identity(): identityModule.Identity | undefined;
  close(): Promise<void>;
}

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
  const tracing = findTracing();
  const temporal = once(() => loadAndConnectTemporal(settings));
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
      await tracing?.flush();
    },
  };
}

/*
 * The code of each part is loaded on its first use: a program that only lists volumes loads nothing of Temporal, and one that only
 * creates them nothing of the database. `require`, since an `import()` would need file extensions that the tests' loader does not know.
 */

function loadAndConnectTemporal(settings: Settings): Promise<Client> {
  const { connectTemporal }: typeof temporalModule = require('./connect-temporal');
  return connectTemporal(settings);
}

function openIdentityOf(config: IdentityConfig): identityModule.Identity {
  const { openIdentity }: typeof identityModule = require('../activities/keystone/identity');
  try {
    return openIdentity(config);
  } catch (error) {
    throw toClientError(error);
  }
}

async function connectImagesOf(
  settings: Settings,
  identity: identityModule.Identity | undefined,
): Promise<imagesModule.ImageCatalog> {
  const { connectImages }: typeof imagesModule = require('./images');
  if (settings.imagesEndpoint !== undefined) return connectImages(settings.imagesEndpoint, identity);
  if (identity === undefined) missing('image service', 'OS_IMAGE_ENDPOINT_OVERRIDE or OS_CLOUD', settings);
  return connectImages(await asClientErrors(() => identity.findImageEndpoint()), identity);
}

function loadAndOpenInventory(settings: Settings): Promise<inventoryModule.Inventory> {
  const { openInventory }: typeof inventoryModule = require('./inventory');
  return openInventory(settings);
}

interface Once<T> {
  get: () => T;
  opened: () => T | undefined;
}

/** Opens at the first use; after a failure, again at the next. */
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
