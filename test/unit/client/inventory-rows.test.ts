import { toBackendStatus, toCacheEntry, toDecision, toDecisionSummary, toVolume } from '../../../client/inventory-rows';
import type { BackendRow, EntryImageRow, EntryRow, VolumeRow } from '../../../db/schema';
import type { BackendName, VolumeId } from '../../../workflows/contract/ids';
import { brand } from '../../support/brand';

/** Programs read these names: a change here is a change of what `--json` promises. */
const at = new Date('2026-01-02T03:04:05.678Z');

const volume: VolumeRow = {
  id: brand('v'),
  projectId: brand('p'),
  name: null,
  backend: brand('local'),
  imageId: brand('i'),
  shortKey: 'k',
  request: {},
  sizeBytes: 512,
  state: 'error',
  entryId: null,
  holdsEntry: false,
  waitsForFlight: null,
  workflowId: 'volume/v',
  runId: 'r',
  volumeType: 'fast',
  volumeTypeId: null,
  placement: 'local was chosen',
  requestedBy: 'alice',
  requestId: 'req-1',
  activityId: null,
  givenUp: false,
  outcome: 'miss',
  attachedTo: null,
  description: 'for tests',
  status: null,
  readOnly: false,
  multiattach: false,
  contentId: null,
  connection: { driver: 'file', path: '/v', format: 'raw' },
  bootable: true,
  imageMetadata: { os_distro: 'debian' },
  metadata: {},
  errorType: 'NoSpace',
  errorMessage: 'backend local has no space',
  stateBeforeDelete: null,
  createdAt: at,
  updatedAt: at,
  availableAt: null,
  deletedAt: null,
};

const entry: EntryRow = {
  id: brand('e'),
  backend: brand('local'),
  shortKey: 'k',
  containerFormat: 'bare',
  diskFormat: 'qcow2',
  hashAlgorithm: 'sha512',
  hashValue: 'ab',
  keyImageId: null,
  keySignature: null,
  generation: 1,
  state: 'ready',
  reason: null,
  reasonDetail: null,
  imageVolume: 'image-volume-k',
  flight: 1,
  reservedFor: null,
  virtualBytes: 1024,
  realBytes: 512,
  counted: true,
  costSeconds: 1.5,
  uses: 3,
  imageBytes: 256,
  reclaimableBytes: 512,
  useScore: 1,
  usesScored: 3,
  scoredAt: at,
  lastUsedAt: at,
  priorityBase: 0,
  priority: 0,
  pinned: false,
  pinnedBy: null,
  policyVersion: 'x',
  verdict: null,
  digestAlgorithm: null,
  digest: null,
  digestSeenAt: null,
  supersededAt: null,
  supersededBy: null,
  clones: 2,
  createdAt: at,
  readyAt: at,
  retiredAt: null,
  goneAt: null,
};

const imageOf = (entryId: string, imageId: string): EntryImageRow => ({
  entryId: brand(entryId),
  imageId: brand(imageId),
  projectId: brand('p'),
  lastSeenAt: at,
  state: 'usable',
});

it('shows a volume with its public error and without what the workflows keep in its row', () => {
  expect(toVolume(volume, { attachments: [], isReimaging: false })).toEqual({
    volumeId: 'v',
    name: null,
    description: 'for tests',
    status: null,
    isReimaging: false,
    readOnly: false,
    multiattach: false,
    requestedBy: 'alice',
    snapshotId: null,
    sourceVolumeId: null,
    updatedAt: '2026-01-02T03:04:05.678Z',
    volumeType: 'fast',
    volumeTypeId: null,
    placement: 'local was chosen',
    projectId: 'p',
    state: 'error',
    backend: 'local',
    imageId: 'i',
    sizeBytes: 512,
    outcome: 'miss',
    entryId: null,
    connection: { driver: 'file', path: '/v', format: 'raw' },
    attachedTo: null,
    attachments: [],
    bootable: true,
    metadata: {},
    imageMetadata: { os_distro: 'debian' },
    error: { type: 'NoSpace', message: 'backend local has no space' },
    workflowId: 'volume/v',
    createdAt: '2026-01-02T03:04:05.678Z',
    availableAt: null,
    deletedAt: null,
  });
});

it('shows an entry with its key as one thing and its own images alone', () => {
  const facts = { leased: false, awaited: false };
  expect(toCacheEntry(entry, [imageOf('e', 'i1'), imageOf('other', 'i2')], facts)).toMatchObject({
    entryId: 'e',
    cacheKey: { containerFormat: 'bare', diskFormat: 'qcow2', hashAlgorithm: 'sha512', hashValue: 'ab', short: 'k' },
    images: [{ imageId: 'i1', projectId: 'p', state: 'usable', lastSeenAt: '2026-01-02T03:04:05.678Z' }],
    lastUsedAt: '2026-01-02T03:04:05.678Z',
  });
});

it.each<[string, Partial<EntryRow>, { leased: boolean; awaited: boolean }]>([
  ['populating', { state: 'populating' }, { leased: false, awaited: false }],
  ['deleting', { state: 'deleting' }, { leased: false, awaited: false }],
  ['leased', { pinned: true }, { leased: true, awaited: true }],
  ['pinned', { pinned: true }, { leased: false, awaited: true }],
  ['awaited', {}, { leased: false, awaited: true }],
  ['has-clones', {}, { leased: false, awaited: false }],
  ['has-clones', { state: 'retired' }, { leased: false, awaited: false }],
  ['within-limits', { clones: 0 }, { leased: false, awaited: false }],
])('says of an entry that stays: %s', (why, fields, facts) => {
  expect(toCacheEntry({ ...entry, ...fields }, [], facts).whyItStays).toBe(why);
});

it.each<Partial<EntryRow>>([{ state: 'gone' }, { state: 'retired', clones: 0 }])(
  'says nothing of an entry that does not stay: %j',
  (fields) => {
    expect(toCacheEntry({ ...entry, ...fields }, [], { leased: false, awaited: false }).whyItStays).toBeNull();
  },
);

it('shows a decision without what only the database needs', () => {
  const decision = {
    volumeId: brand<VolumeId>('v'),
    projectId: null,
    backend: brand<BackendName>('local'),
    imageId: null,
    entryId: null,
    outcome: 'hit',
    reason: 'why',
    errorType: null,
    bytesDownloaded: 0,
    savedBytes: 9,
    savedSeconds: 2,
    timingsMs: {},
    workflowId: 'volume/v',
  } as const;
  const shown = toDecision({
    ...decision,
    id: 1,
    at,
    shortKey: 'k',
    runId: 'r',
    requestedBy: 'alice',
    requestId: null,
  });
  expect(shown).toEqual({ at: '2026-01-02T03:04:05.678Z', ...decision });
});

it('counts as hits only creates that were answered with a volume', () => {
  const saved = { savedBytes: 9, savedSeconds: 2 };
  const summary = { hit: 3, miss: 1, joined: 0, bypassed: 0, refused: 7, failed: 2, bytesDownloaded: 5, ...saved };
  expect(toDecisionSummary(summary)).toEqual({ ...summary, hitRate: 0.75 });
  expect(toDecisionSummary({ ...summary, hit: 0, miss: 0 }).hitRate).toBeNull();
});

it('shows no space of a backend that no worker has looked at', () => {
  const row: BackendRow = {
    name: brand('local'),
    driver: 'file',
    capabilities: {},
    placeId: null,
    cacheEnabled: true,
    maxBytes: 100,
    maxCount: 10,
    freeLowWater: 0.1,
    freeHighWater: 0.2,
    idleAgeMs: null,
    keepSuperseded: 0,
    policy: 'gdsf',
    cloneLimit: null,
    operatorLimits: [],
    limitsSetBy: null,
    limitsSetAt: null,
    totalBytes: null,
    freeBytes: null,
    spaceSeenAt: null,
    evictionClock: 0,
    registeredAt: at,
  };
  const sums = { bytes: 60, count: 2, reservedBytes: 10, pinnedBytes: 0 };
  const decisions = toDecisionSummary({
    hit: 0,
    miss: 0,
    joined: 0,
    bypassed: 0,
    refused: 0,
    failed: 0,
    bytesDownloaded: 0,
    savedBytes: 0,
    savedSeconds: 0,
  });
  const status = toBackendStatus(row, { sums, decisions });
  expect(status).toMatchObject({
    backend: 'local',
    space: null,
    cache: { usedBytes: 60, maxBytes: 100, reservedBytes: 10 },
  });
  const capabilities = { cloneMethod: 'rbd clone', cloneMethodReason: 'no librbd' };
  expect(toBackendStatus({ ...row, capabilities }, { sums, decisions }).clones).toEqual({
    method: 'rbd clone',
    reason: 'no librbd',
  });
  expect(toBackendStatus({ ...row, totalBytes: 9, freeBytes: 4, spaceSeenAt: at }, { sums, decisions }).space).toEqual({
    totalBytes: 9,
    freeBytes: 4,
    seenAt: '2026-01-02T03:04:05.678Z',
  });
});
