import { z } from 'zod';
import { signatureRequirements, supportedContainerFormats, supportedDiskFormats } from '../../workflows/contract/image';
import { evictionPolicies, LEAST_SWEEP_INTERVAL_MS, limitBounds } from '../../workflows/contract/cache-limits';
import { endpointInterfaces, type IdentityConfig } from '../../activities/keystone/identity-config';
import { cron, cronOrInterval } from './cron';
import { duration, percentage, size } from './units';

const path = z.string('a path').min(1);
const ipAddress = z.union([z.ipv4(), z.ipv6()], 'an IP address');

const { maxBytes, maxCount, idleAgeMs, keepSuperseded } = limitBounds;

/** Limits of one backend's cache: they fill only what no operator has set in the inventory. */
export const cacheLimitsSchema = z.strictObject({
  enabled: z.boolean().default(true),
  maxBytes: size.refine((bytes) => bytes >= maxBytes.least, `at least ${maxBytes.least}B`).default(100 * 1024 ** 3),
  maxCount: z.int().min(maxCount.least).max(maxCount.most).default(50),
  freeLowWater: percentage.default(0.1),
  freeHighWater: percentage.default(0.2),
  idleAge: duration.refine((ms) => ms >= idleAgeMs.least, `at least ${idleAgeMs.least}ms`).optional(),
  keepSuperseded: z.int().min(keepSuperseded.least).max(keepSuperseded.most).default(0),
  policy: z.enum(evictionPolicies).default('gdsf'),
});

const fileBackendSchema = z.strictObject({
  driver: z.literal('file'),
  /** Default: `volumes/<name>` in the data directory. */
  directory: z.string().min(1).optional(),
  /** How clones are made; `auto` takes reflinks where the file system has them. */
  clone: z.enum(['auto', 'reflink', 'overlay']).default('auto'),
  /** How the directory is exported over NFS, as `host:/path`: compute hosts attach its volumes through that. Default: no host attaches them by the API. */
  export: z
    .string('host:/path')
    .regex(/^(?:[\w.-]+|\[[0-9a-f:.]+\]):\/\S*$/i, 'host:/path')
    .optional(),
  /** Of mount, such as `-o vers=4.2`. */
  exportOptions: z.string().min(1).max(255).optional(),
  maxOverSubscription: z.number().min(1).max(1000).default(20),
  cache: cacheLimitsSchema.prefault({}),
});

/** A name of Ceph's, or a template for one, that needs no quoting anywhere. */
const cephName = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[A-Za-z0-9_.{}-]+$/, 'letters, digits, "_", "." and "-"');
const rbdBackendSchema = z.strictObject({
  driver: z.literal('rbd'),
  pool: cephName,
  /** Default: the pool's default namespace. */
  namespace: cephName.optional(),
  conf: z.string().min(1).default('/etc/ceph/ceph.conf'),
  /** Of cephx, without `client.`. */
  user: cephName.default('cinder'),
  /** Under which compute hosts keep the key of `user`, as libvirt's secret: clients that attach volumes are told of it. */
  secretUuid: z.uuid('a UUID').optional(),
  /** Default: where `conf` says, or `/etc/ceph/ceph.client.<user>.keyring`. */
  keyring: z.string().min(1).optional(),
  /** `auto`: librbd in process where it can be loaded, else the `rbd` tool. */
  access: z.enum(['auto', 'library', 'tool']).default('auto'),
  /** A call to the cluster that takes longer is given up and tried again. */
  operationTimeout: duration.refine((ms) => ms >= 1000, 'at least 1s').default(30_000),
  /** How volumes and image-volumes are called in the pool: `{id}` is the volume's id, `{key}` the cache key and generation. */
  names: z
    .strictObject({
      volume: cephName
        .refine((name) => name.split('{id}').length === 2, 'a name with {id} once')
        .default('volume-{id}'),
      image: cephName
        .refine((name) => name.split('{key}').length === 2, 'a name with {key} once')
        .default('image-{key}'),
    })
    .prefault({}),
  /** Glance's store, where that is in the same cluster. */
  imageStore: z
    .strictObject({
      /** Whether raw images are cloned there instead of downloaded. */
      clone: z.boolean().default(true),
      /** Glance's `rbd_store_pool`. */
      pool: cephName.default('images'),
      /** Whether what was cloned is read, in Ceph, and compared with the hash in the image's record. */
      verify: z.boolean().default(true),
      /** Whether a volume is uploaded raw by a clone in that pool, where `user` may write there. */
      pointers: z.boolean().default(true),
    })
    .prefault({}),
  /** A volume reads from so many images at most, one behind the other: an image-volume that is a clone itself and would make it more is flattened. */
  maxCloneDepth: z.int().min(1).max(16).default(5),
  maxOverSubscription: z.number().min(1).max(1000).default(20),
  cache: cacheLimitsSchema.prefault({}),
});

const name = z.string().min(1).max(255);
const endpointChoice = { region: name.optional(), interface: z.enum(endpointInterfaces).optional() };
const domainOf = (what: 'user' | 'project') => ({
  [`${what}DomainName`]: name.optional(),
  [`${what}DomainId`]: name.optional(),
});
/** No secret stands in this file: a reader of the configuration reads none. */
const identitySchema: z.ZodType<IdentityConfig> = z.union([
  z.strictObject({ cloud: name, ...endpointChoice }),
  z.strictObject({
    authUrl: z.url({ protocol: /^https?$/, error: 'an http:// or https:// URL' }),
    username: name.optional(),
    userId: name.optional(),
    ...domainOf('user'),
    projectName: name.optional(),
    projectId: name.optional(),
    ...domainOf('project'),
    applicationCredentialId: name.optional(),
    applicationCredentialName: name.optional(),
    secretFile: z.string().min(1).optional(),
    cacert: z.string().min(1).optional(),
    insecure: z.boolean().optional(),
    ...endpointChoice,
  }),
]);

const DAY_MS = 86_400_000;
const kept = duration.refine((ms) => ms >= DAY_MS, 'at least 1d');

/** `temporal.yaml`: the application's one declarative file. Every default is here. */
export const configSchema = z.strictObject({
  temporal: z
    .strictObject({
      /** `embedded`, or host:port, which is then never replaced by the embedded server. */
      address: z
        .string('embedded or host:port')
        .regex(/^(?:embedded|(?:[^\s:/]+|\[[0-9a-f:.]+\]):\d{1,5})$/i, 'embedded or host:port')
        .default('embedded'),
      namespace: z.string().min(1).max(255).default('default'),
      /** Set before all task queues, workflow ids and schedules, so that several stacks can share a namespace. */
      taskQueuePrefix: z
        .string()
        .max(40)
        .regex(/^[a-z0-9-]*$/, 'lower-case letters, digits and hyphens')
        .default(''),
      tls: z.boolean().default(false),
      /** Of `temporal.toml`; lies over these keys and below the variables. */
      profile: z.string().min(1).optional(),
      uiPort: z.int().min(0).max(65535).default(8233),
      port: z.int().min(0).max(65535).default(7233),
      retention: duration.default(7 * 86_400_000),
    })
    .prefault({}),
  database: z
    .strictObject({
      url: z
        .string('embedded or a postgres:// URL')
        .regex(/^(?:embedded$|postgres(?:ql)?:\/\/)/, 'embedded or a postgres:// URL')
        .default('embedded'),
    })
    .prefault({}),
  images: z
    .union([
      z.strictObject({
        service: z.literal('embedded', '"embedded", "catalogue"'),
        port: z.int().min(0).max(65535).default(9292),
      }),
      /** The endpoint that the catalogue of `identity` names. */
      z.strictObject({ service: z.literal('catalogue') }),
      z.strictObject({ endpoint: z.url({ protocol: /^https?$/, error: 'an http:// or https:// URL' }) }),
    ])
    .prefault({ service: 'embedded' }),
  /** This installation's account at a Keystone; left out: services are asked without a token. */
  identity: identitySchema.optional(),
  /** A key that is left out is the account's own in Keystone; without Keystone, `image-volume-cache`. */
  internalTenant: z
    .strictObject({
      projectId: z.string().min(1).max(64).optional(),
      projectName: name.optional(),
      projectDomainId: name.optional(),
      userId: z.string().min(1).max(64).optional(),
      userName: name.optional(),
      userDomainId: name.optional(),
    })
    .prefault({}),
  defaultProjectId: z.string().min(1).max(64).default('default'),
  /** Of each project, until an operator sets others; one that is left out is no limit. */
  quotas: z
    .strictObject({
      volumes: z.int().min(0).optional(),
      snapshots: z.int().min(0).optional(),
      /** Of all its volumes and snapshots together. */
      bytes: size.optional(),
      /** Of each volume. */
      volumeBytes: size.optional(),
      /** Whether `bytes` counts snapshots too. */
      snapshotBytesCount: z.boolean().default(true),
    })
    .prefault({}),
  createBudget: duration.default(6 * 3_600_000),
  createSafetyInterval: duration.default(2 * 60_000),
  population: z
    .strictObject({
      /** Whether a population continues when its last waiting create ends before the download is done. */
      whenNobodyWaits: z.enum(['finish', 'stop']).default('finish'),
    })
    .prefault({}),
  scratch: z
    .strictObject({
      /** Default: `scratch` in the data directory. */
      directory: z.string().min(1).optional(),
      maxBytes: size.default(50 * 1024 ** 3),
      /** A transfer that has waited so long for room looks for another host. */
      moveAfter: duration.refine((ms) => ms >= 1000, 'at least 1s').default(30_000),
      downloadsAtOnce: z.int().min(1).max(64).default(2),
      conversionsAtOnce: z.int().min(1).max(64).default(1),
    })
    .prefault({}),
  backends: z
    .record(z.string(), z.discriminatedUnion('driver', [fileBackendSchema, rbdBackendSchema]))
    .refine((backends) => Object.keys(backends).length > 0, 'at least one backend')
    .prefault({ local: { driver: 'file' } }),
  /** Volume types, which a create may name in place of a backend. */
  volumeTypes: z
    .record(
      z.string().min(1).max(255),
      z.strictObject({
        description: z.string().max(255).optional(),
        /** Default: all. */
        backends: z.array(z.string()).min(1).optional(),
        /** For people and for clients; only `multiattach` decides something, as `<is> True`. */
        extraSpecs: z.record(z.string().min(1).max(255), z.string().max(255)).default({}),
        /** Whose it is; left out: everybody's. */
        projects: z.array(z.string().min(1).max(64)).optional(),
      }),
    )
    .default({}),
  /** Of a create that names neither a type nor a backend. */
  defaultVolumeType: z.string().optional(),
  /** Default: the only backend, or the first of the file. */
  defaultBackend: z.string().optional(),
  policy: z
    .strictObject({
      maxVirtualSize: size.default(2 * 1024 ** 4),
      formats: z
        .array(z.enum(supportedDiskFormats))
        .min(1)
        .default([...supportedDiskFormats]),
      /** `compressed` is gzip, xz or zstd around one of the formats. */
      containers: z
        .array(z.enum(supportedContainerFormats))
        .min(1)
        .default([...supportedContainerFormats]),
      /** Whose signatures of images are trusted, by OpenStack's properties `img_signature…`. */
      signatures: z
        .strictObject({
          require: z.enum(signatureRequirements).default('off'),
          /** A directory of `<certificate uuid>.pem`, or the PEM file of each uuid. */
          certificates: z
            .union(
              [path, z.record(z.string().regex(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i), path)],
              'a directory, or a file for each certificate uuid',
            )
            .optional(),
          /** PEM files of roots and of what is between; none: each certificate stands for itself. */
          authorities: z.array(path).default([]),
        })
        .prefault({}),
    })
    .prefault({}),
  /**
   * How qemu-img runs where it reads tenants' bytes. The output of a conversion is bounded by `policy.maxVirtualSize`.
   */
  tools: z
    .strictObject({
      /** The id it drops to where the worker is root; it should own nothing else. */
      user: z
        .union([z.literal('none'), z.int().min(1).max(4_294_967_294)], 'none, or a numeric user id but 0')
        .default(60_641),
      wallClock: duration.refine((ms) => ms >= 1000, 'at least 1s').default(2 * 3_600_000),
      cpuTime: duration.refine((ms) => ms >= 1000, 'at least 1s').default(4 * 3_600_000),
      addressSpace: size.refine((bytes) => bytes >= 256 * 1024 ** 2, 'at least 256MiB').default(4 * 1024 ** 3),
      openFiles: z.int().min(32).max(65_536).default(64),
    })
    .prefault({}),
  /** Evictors and schedules; cron expressions are in UTC. */
  schedules: z
    .strictObject({
      refresh: cron.default('0 3 * * *'),
      reconcile: cronOrInterval.default(30 * 60_000),
      /** Between an evictor's periodic sweeps. */
      evict: z
        .union(
          [z.literal('off'), duration.refine((ms) => ms >= LEAST_SWEEP_INTERVAL_MS, 'at least 1s')],
          'off, or a duration',
        )
        .default(5 * 60_000),
      /** Bytes a second that digests and scrubs may read, so that guests do not feel them. */
      scrubRate: size.refine((bytes) => bytes >= 1024 ** 2, 'at least 1MiB').default(100 * 1024 ** 2),
      /** The reconciler leaves findings alone until they are this old. */
      grace: duration.default(15 * 60_000),
    })
    .prefault({}),
  /** How many images a refresh takes for gone at once: more than both wait for an operator's word. */
  refresh: z
    .strictObject({
      maxMissingCount: z.int().min(0).max(1_000_000).default(10),
      maxMissingShare: percentage.default(0.2),
    })
    .prefault({}),
  /** How long rows stay that nothing needs any more; the reconciler deletes them. */
  retention: z
    .strictObject({
      /** Events, and the history of cache entries. */
      events: kept.default(400 * DAY_MS),
      /** How creates were answered. */
      decisions: kept.default(400 * DAY_MS),
      /** Rows of deleted volumes: until then their ids are refused. */
      goneRows: kept.default(90 * DAY_MS),
    })
    .prefault({}),
  /** The block-storage API. */
  api: z
    .strictObject({
      listen: z
        .string('an address and a port, such as 127.0.0.1:8776')
        .regex(/^(?:[^\s:/]+|\[[0-9a-f:.]+\]):\d{1,5}$/i, 'an address and a port, such as 127.0.0.1:8776')
        .default('127.0.0.1:8776'),
      /** Default: `keystone` where `identity` names one. `none`: the project is that of the path, every caller administers. */
      auth: z.enum(['keystone', 'none']).optional(),
      /** PEM files; left out: plain HTTP. */
      tls: z
        .strictObject({
          cert: path,
          key: path,
          /** Of whom each client must show a certificate; left out: it needs none. */
          clientCa: path.optional(),
        })
        .optional(),
      /** How its clients reach it, for the links that it gives them. Default: as each of them has called it. */
      publicUrl: z.url({ protocol: /^https?$/, error: 'an http:// or https:// URL' }).optional(),
      /** A token that was valid is taken without another question for so long. */
      tokenCache: duration.refine((ms) => ms <= 300_000, 'at most 5m').default(60_000),
      /** Of volumes, in the one zone that there is. */
      availabilityZone: name.default('nova'),
      /** Whether it runs a control worker too, which begins the creates of this process without the way through the server. */
      worker: z.boolean().default(false),
      /** Where its metrics and probes listen, as those of a worker. */
      metrics: z
        .strictObject({
          address: ipAddress.default('127.0.0.1'),
          /** 0: no metrics endpoint. */
          port: z.int().min(0).max(65535).default(9470),
          /** 0: any free port. */
          livenessPort: z.int().min(0).max(65535).default(0),
        })
        .prefault({}),
      limits: z
        .strictObject({
          /** Of a request. Default: `osapi_max_request_body_size` of Cinder. */
          bodyBytes: size.refine((bytes) => bytes >= 1024 && bytes <= 16 * 1024 ** 2, '1KiB to 16MiB').default(114_688),
          /** For the head of a request to come. */
          headersTimeout: duration.refine((ms) => ms >= 1000, 'at least 1s').default(10_000),
          /** For head and body. */
          requestTimeout: duration.refine((ms) => ms >= 1000, 'at least 1s').default(30_000),
          /** Of one project, at one process. */
          requestsPerMinute: z
            .union([z.literal('off'), z.int().min(1)], 'off, or a number of requests')
            .default(60_000),
        })
        .prefault({}),
      /** How long requests may take that are under way when it stops. */
      shutdownGrace: duration.default(10_000),
    })
    .prefault({}),
  worker: z
    .strictObject({
      /** Where metrics and probes listen. */
      address: ipAddress.default('127.0.0.1'),
      /** 0: no metrics endpoint. */
      metricsPort: z.int().min(0).max(65535).default(9464),
      /** Between two readings of the inventory for the gauges. */
      metricsInterval: duration.refine((ms) => ms >= 100, 'at least 100ms').default(15_000),
      /** 0: any free port. */
      livenessPort: z.int().min(0).max(65535).default(0),
      logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      shutdownGrace: duration.default(10_000),
    })
    .prefault({}),
});

export type Config = z.output<typeof configSchema>;
export type BackendConfig = Config['backends'][string];
