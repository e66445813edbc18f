/** Kinds of resources that a route's path, body or query may name. A type is private, for one project. */
export type ResourceKind = 'volume' | 'snapshot' | 'attachment' | 'transfer' | 'type' | 'message' | 'project';
export type ResourceIds = Record<ResourceKind, string>;

/** One way to call a route of the block-storage API, and what it answers. */
export interface RouteCell {
  /** Kind that it names; undefined: nothing of a project's. */
  of?: ResourceKind;
  /** Callers that may call it; others are told 403 whatever it names. */
  by: 'readers' | 'writers' | 'administrators';
  body?: (ids: ResourceIds) => object;
  query?: string;
  /** The answer to who may, where what it names is of the caller's project. */
  own: number;
  /** The answer where what it names is not there, or is another project's. */
  absent: number;
  /** The same to an administrator, of what is the own project's and of what is another's. */
  ownToAdministrator: number;
  foreignToAdministrator: number;
}

type Given = Partial<RouteCell> & Pick<RouteCell, 'own'>;
const cell =
  (by: RouteCell['by']) =>
  (of: ResourceKind | undefined, given: Given): RouteCell => ({
    of,
    by,
    absent: 404,
    ownToAdministrator: given.own,
    foreignToAdministrator: given.own,
    ...given,
  });
const reads = cell('readers');
const writes = cell('writers');
const administers = cell('administrators');
const nothing = undefined;

/** The `key` of every path. */
export const METADATA_KEY = 'of:tests';
const KEY = METADATA_KEY;

/** `metadata` of a resource. */
const metadataOf = (of: ResourceKind, path: string): Record<string, RouteCell[]> => ({
  [`GET ${path}/metadata`]: [reads(of, { own: 200 })],
  [`POST ${path}/metadata`]: [writes(of, { own: 200, body: () => ({ metadata: { b: 'taken' } }) })],
  [`PUT ${path}/metadata`]: [writes(of, { own: 200, body: () => ({ metadata: { b: 'taken' } }) })],
  [`GET ${path}/metadata/:key`]: [reads(of, { own: 200 })],
  [`PUT ${path}/metadata/:key`]: [writes(of, { own: 200, body: () => ({ meta: { [KEY]: 'taken' } }) })],
  [`DELETE ${path}/metadata/:key`]: [writes(of, { own: 200 })],
});

const action = (name: string, input: (ids: ResourceIds) => unknown = () => null) => ({
  body: (ids: ResourceIds) => ({ [name]: input(ids) }),
});
const connector = { host: 'h1' };
const IMAGE = '00000000-0000-4000-8000-000000000001';

const volumeActions: RouteCell[] = [
  writes('volume', { own: 202, ...action('os-extend', () => ({ new_size: 2 })) }),
  writes('volume', { own: 202, ...action('os-reserve') }),
  writes('volume', { own: 202, ...action('os-unreserve') }),
  writes('volume', { own: 400, ...action('os-begin_detaching') }),
  writes('volume', { own: 202, ...action('os-roll_detaching') }),
  writes('volume', { own: 202, ...action('os-attach', () => ({ host_name: 'h1', mountpoint: '/dev/vdb' })) }),
  writes('volume', { own: 202, ...action('os-detach', () => ({})) }),
  // Its backend is exported to no host.
  writes('volume', { own: 400, ...action('os-initialize_connection', () => ({ connector })) }),
  writes('volume', { own: 202, ...action('os-terminate_connection', () => ({ connector })) }),
  writes('volume', { own: 200, ...action('os-set_bootable', () => ({ bootable: true })) }),
  writes('volume', { own: 202, ...action('os-update_readonly_flag', () => ({ readonly: true })) }),
  writes('volume', { own: 200, ...action('os-set_image_metadata', () => ({ metadata: { b: 'taken' } })) }),
  writes('volume', { own: 200, ...action('os-show_image_metadata') }),
  writes('volume', { own: 200, ...action('os-unset_image_metadata', () => ({ key: KEY })) }),
  // There is no such image.
  writes('volume', { own: 404, ...action('os-reimage', () => ({ image_id: IMAGE })) }),
  writes('volume', { own: 409, ...action('revert', ({ snapshot }) => ({ snapshot_id: snapshot })) }),
  writes('volume', { own: 400, ...action('os-retype', () => ({ new_type: '__DEFAULT__' })) }),
  administers('volume', { own: 202, ...action('os-reset_status', () => ({ status: 'error' })) }),
  administers('volume', { own: 202, ...action('os-force_delete') }),
  administers('volume', { own: 400, ...action('os-migrate_volume', () => ({ host: 'h2' })) }),
  administers('volume', { own: 400, ...action('os-migrate_volume_completion', () => ({ new_volume: IMAGE })) }),
];

const attachments: Record<string, RouteCell[]> = {
  'POST /attachments': [
    writes('volume', { own: 200, body: ({ volume }) => ({ attachment: { volume_uuid: volume } }) }),
  ],
  'GET /attachments': [reads(nothing, { own: 200 })],
  'GET /attachments/detail': [reads(nothing, { own: 200 })],
  'GET /attachments/:attachment_id': [reads('attachment', { own: 200 })],
  // Its backend is exported to no host.
  'PUT /attachments/:attachment_id': [writes('attachment', { own: 400, body: () => ({ attachment: { connector } }) })],
  'POST /attachments/:attachment_id/action': [writes('attachment', { own: 204, ...action('os-complete') })],
  'DELETE /attachments/:attachment_id': [writes('attachment', { own: 200 })],
};

const transfersAt = (path: string): Record<string, RouteCell[]> => ({
  [`POST ${path}`]: [writes('volume', { own: 202, body: ({ volume }) => ({ transfer: { volume_id: volume } }) })],
  [`GET ${path}`]: [reads(nothing, { own: 200 })],
  [`GET ${path}/detail`]: [reads(nothing, { own: 200 })],
  [`GET ${path}/:transfer_id`]: [reads('transfer', { own: 200 })],
  [`POST ${path}/:transfer_id/accept`]: [
    // As for none: a wrong key.
    writes('transfer', { own: 404, body: () => ({ accept: { auth_key: 'guessed' } }) }),
  ],
  [`DELETE ${path}/:transfer_id`]: [writes('transfer', { own: 202 })],
});

const encryption = { provider: 'luks', control_location: 'front-end' };
const types: Record<string, RouteCell[]> = {
  'GET /types': [reads(nothing, { own: 200 })],
  'POST /types': [
    administers(nothing, { own: 200, body: ({ volume }) => ({ volume_type: { name: `type-${volume}` } }) }),
  ],
  'GET /types/default': [reads(nothing, { own: 200 })],
  'GET /types/:type_id': [reads('type', { own: 200 })],
  'PUT /types/:type_id': [administers('type', { own: 200, body: () => ({ volume_type: { description: 'taken' } }) })],
  'DELETE /types/:type_id': [administers('type', { own: 202 })],
  'GET /types/:type_id/os-volume-type-access': [administers('type', { own: 200 })],
  'POST /types/:type_id/action': [
    administers('type', { own: 202, ...action('addProjectAccess', () => ({ project: 'third' })) }),
    administers('type', {
      own: 202,
      foreignToAdministrator: 404,
      ...action('removeProjectAccess', ({ project }) => ({ project })),
    }),
  ],
  'GET /types/:type_id/extra_specs': [reads('type', { own: 200 })],
  'POST /types/:type_id/extra_specs': [
    administers('type', { own: 200, body: () => ({ extra_specs: { b: 'taken' } }) }),
  ],
  // Of extra specs that are an operator's own nobody else learns.
  'GET /types/:type_id/extra_specs/:key': [
    reads('type', { own: 404, ownToAdministrator: 200, foreignToAdministrator: 200 }),
  ],
  'PUT /types/:type_id/extra_specs/:key': [administers('type', { own: 200, body: () => ({ [KEY]: 'taken' }) })],
  'DELETE /types/:type_id/extra_specs/:key': [administers('type', { own: 202 })],
  'GET /types/:type_id/encryption': [administers('type', { own: 200 })],
  'GET /types/:type_id/encryption/:key': [administers('type', { own: 404 })],
  'POST /types/:type_id/encryption': [administers('type', { own: 200, body: () => ({ encryption }) })],
  'PUT /types/:type_id/encryption/:key': [administers('type', { own: 404, body: () => ({ encryption }) })],
  'DELETE /types/:type_id/encryption/:key': [administers('type', { own: 404 })],
};

/** Another project's is answered 403, as where there is no such project. */
const ofOwner = { absent: 403, foreignToAdministrator: 200 };
const quotas: Record<string, RouteCell[]> = {
  'GET /os-quota-sets/:target': [reads('project', { own: 200, ...ofOwner })],
  'GET /os-quota-sets/:target/detail': [reads('project', { own: 200, ...ofOwner })],
  'GET /os-quota-sets/:target/defaults': [reads('project', { own: 200, ...ofOwner })],
  'PUT /os-quota-sets/:target': [
    administers('project', { own: 200, absent: 200, body: () => ({ quota_set: { volumes: 1000 } }) }),
  ],
  'DELETE /os-quota-sets/:target': [administers('project', { own: 200, absent: 200 })],
  'GET /os-quota-class-sets/:target': [administers('project', { own: 200, absent: 200 })],
  'PUT /os-quota-class-sets/:target': [
    administers('project', { own: 200, absent: 200, body: () => ({ quota_class_set: { volumes: 1 } }) }),
  ],
  'GET /default-types': [administers(nothing, { own: 200 })],
  'GET /default-types/:target': [administers('project', { own: 404 })],
  'PUT /default-types/:target': [
    administers('project', { own: 200, absent: 200, body: () => ({ default_type: { volume_type: '__DEFAULT__' } }) }),
  ],
  'DELETE /default-types/:target': [administers('project', { own: 204, absent: 204 })],
  'GET /limits': [reads(nothing, { own: 200 })],
};

const services: Record<string, RouteCell[]> = {
  'GET /os-availability-zone': [reads(nothing, { own: 200 })],
  'GET /os-services': [administers(nothing, { own: 200 })],
  'PUT /os-services/:action': [administers(nothing, { own: 400, body: () => ({ host: 'h1' }) })],
  'GET /os-hosts': [administers(nothing, { own: 200 })],
  'GET /os-hosts/:host': [administers(nothing, { own: 404 })],
  'GET /scheduler-stats/get_pools': [administers(nothing, { own: 200 })],
  'GET /capabilities/:host': [administers(nothing, { own: 404 })],
  'GET /resource_filters': [reads(nothing, { own: 200 })],
  'GET /extensions': [reads(nothing, { own: 200 })],
  'GET /extensions/:alias': [reads(nothing, { own: 404 })],
  'POST /workers/cleanup': [administers(nothing, { own: 202, body: () => ({}) })],
};

/** A resource that Cinder serves and nobody has here. */
function absentAt(
  path: string,
  {
    refusal = 400,
    detail = true,
    administered = false,
  }: { refusal?: number; detail?: boolean; administered?: boolean },
): Record<string, RouteCell[]> {
  const [read, write] = administered ? [administers, administers] : [reads, writes];
  return {
    [`GET ${path}`]: [read(nothing, { own: 200 })],
    ...(detail && { [`GET ${path}/detail`]: [read(nothing, { own: 200 })] }),
    [`POST ${path}`]: [write(nothing, { own: refusal, body: () => ({}) })],
    [`GET ${path}/:id`]: [read(nothing, { own: 404 })],
    [`PUT ${path}/:id`]: [write(nothing, { own: 404, body: () => ({}) })],
    [`DELETE ${path}/:id`]: [write(nothing, { own: 404 })],
  };
}

/** By method and path below `/v3/{project_id}`. A route that comes anew is given its cells here. */
export const routeCells: Readonly<Record<string, RouteCell[]>> = {
  'GET /volumes': [reads(nothing, { own: 200 })],
  'GET /volumes/detail': [reads(nothing, { own: 200 })],
  'GET /volumes/summary': [reads(nothing, { own: 200 })],
  'POST /volumes': [
    writes(nothing, { own: 202, body: () => ({ volume: { size: 1 } }) }),
    writes('volume', {
      own: 202,
      body: ({ volume }) => ({ volume: { source_volid: volume } }),
    }),
    writes('snapshot', {
      own: 202,
      body: ({ snapshot }) => ({ volume: { snapshot_id: snapshot } }),
    }),
    writes('type', {
      own: 202,
      foreignToAdministrator: 404,
      body: ({ type }) => ({ volume: { size: 1, volume_type: type } }),
    }),
    // There is no such image. Rights to images are tested with Glance and Keystone: test/keystone.
    writes(nothing, { own: 400, body: () => ({ volume: { size: 1, imageRef: IMAGE } }) }),
  ],
  'GET /volumes/:volume_id': [reads('volume', { own: 200 })],
  'PUT /volumes/:volume_id': [writes('volume', { own: 200, body: () => ({ volume: { name: 'taken' } }) })],
  'DELETE /volumes/:volume_id': [
    writes('volume', { own: 202 }),
    writes('volume', { own: 202, query: 'cascade=true' }),
    writes('volume', { own: 403, ownToAdministrator: 202, foreignToAdministrator: 202, query: 'force=true' }),
  ],
  ...metadataOf('volume', '/volumes/:volume_id'),
  'POST /volumes/:volume_id/action': [
    ...volumeActions,
    writes('type', {
      own: 202,
      foreignToAdministrator: 404,
      ...action('os-retype', ({ type }) => ({ new_type: type })),
    }),
  ],
  'GET /volumes/:volume_id/encryption': [reads('volume', { own: 200 })],
  'GET /volumes/:volume_id/encryption/:key': [reads('volume', { own: 200 })],

  'GET /snapshots': [reads(nothing, { own: 200 })],
  'GET /snapshots/detail': [reads(nothing, { own: 200 })],
  'POST /snapshots': [writes('volume', { own: 202, body: ({ volume }) => ({ snapshot: { volume_id: volume } }) })],
  'GET /snapshots/:snapshot_id': [reads('snapshot', { own: 200 })],
  'PUT /snapshots/:snapshot_id': [writes('snapshot', { own: 200, body: () => ({ snapshot: { name: 'taken' } }) })],
  'DELETE /snapshots/:snapshot_id': [writes('snapshot', { own: 202 })],
  ...metadataOf('snapshot', '/snapshots/:snapshot_id'),
  'POST /snapshots/:snapshot_id/action': [
    administers('snapshot', { own: 202, ...action('os-reset_status', () => ({ status: 'error' })) }),
    writes('snapshot', { own: 400, ...action('os-update_snapshot_status', () => ({ status: 'available' })) }),
    administers('snapshot', { own: 202, ...action('os-force_delete') }),
  ],

  'GET /messages': [reads(nothing, { own: 200 })],
  'GET /messages/:message_id': [reads('message', { own: 200 })],
  'DELETE /messages/:message_id': [writes('message', { own: 204 })],

  ...attachments,
  ...transfersAt('/os-volume-transfer'),
  ...transfersAt('/volume-transfers'),
  ...types,
  ...quotas,
  ...services,
  ...absentAt('/backups', { refusal: 503 }),
  ...absentAt('/groups', {}),
  ...absentAt('/group_snapshots', {}),
  ...absentAt('/group_types', { detail: false }),
  ...absentAt('/consistencygroups', {}),
  ...absentAt('/cgsnapshots', {}),
  ...absentAt('/qos-specs', { detail: false, administered: true }),
  ...absentAt('/clusters', { administered: true }),
  ...absentAt('/manageable_volumes', { administered: true }),
  ...absentAt('/manageable_snapshots', { administered: true }),
};
