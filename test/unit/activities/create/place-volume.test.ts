import type { ControlDependencies } from '../../../../activities/dependencies';
import { choosePlace, placesFor } from '../../../../activities/create/place-volume';
import { Failure } from '../../../../workflows/contract/failures';
import type { BackendView } from '../../../../db/placement';
import type { BackendName, ProjectId } from '../../../../workflows/contract/ids';
import { brand } from '../../../support/brand';

const view = (backend: string, more: Partial<BackendView> = {}): BackendView => ({
  backend: brand<BackendName>(backend),
  isOwn: false,
  ownPlacement: null,
  hasRoom: true,
  isReady: false,
  isPopulating: false,
  freeBytes: 100,
  ...more,
});

describe('of several backends', () => {
  it.each<[string, Partial<BackendView>, Partial<BackendView>]>([
    ['that which has most free space', { freeBytes: 1 }, { freeBytes: 2 }],
    ['one whose free space is known', { freeBytes: null }, { freeBytes: 1 }],
    ['one that gets the image cached, whatever its free space', { freeBytes: 9 }, { isPopulating: true, freeBytes: 1 }],
    ['one that has the image cached', { isPopulating: true, freeBytes: 9 }, { isReady: true, freeBytes: 1 }],
    [
      'the freer one of two that have it, though the other makes its next generation',
      { isReady: true, isPopulating: true, freeBytes: 1 },
      { isReady: true, freeBytes: 2 },
    ],
    ['one with room, whatever the other has', { isReady: true, hasRoom: false }, {}],
    ['what the request has been on before, though it has no room', { isReady: true }, { isOwn: true, hasRoom: false }],
  ])('%s is chosen', (_what, worse, better) => {
    const [first, second] = [view('first', worse), view('second', better)];
    expect(choosePlace([first, second])?.backend).toBe('second');
    expect(choosePlace([second, first])?.backend).toBe('second');
  });

  it('the first is chosen where they are alike, and none where no worker knows any', () => {
    expect(choosePlace([view('first'), view('second')])?.backend).toBe('first');
    expect(choosePlace([])).toBeUndefined();
  });

  it('the reason stays that of the first time', () => {
    expect(choosePlace([view('first', { isOwn: true, ownPlacement: 'because' })])).toEqual({
      backend: 'first',
      reason: 'because',
    });
  });
});

const deps = (defaultVolumeType?: string) =>
  ({
    config: {
      backends: { slow: {}, fast: {}, other: {} },
      defaultBackend: 'slow',
      defaultVolumeType,
      volumeTypes: {
        fast: { backends: ['fast'], extraSpecs: {} },
        two: { backends: ['fast', 'other'], extraSpecs: {} },
        anywhere: { extraSpecs: {} },
        own: { backends: ['fast'], extraSpecs: {}, projects: ['owner'] },
        nobodys: { extraSpecs: {}, projects: [] },
      },
    },
  }) as unknown as ControlDependencies;

const imageId = '0f8fad5b-d9cb-469f-a165-70867728950e';
const find = async (
  request: { backend?: string; volumeType?: string; imageId?: string },
  { project = 'owner', defaultType }: { project?: string; defaultType?: string } = {},
) => {
  try {
    return await placesFor(deps(defaultType), { imageId, ...request }, brand<ProjectId>(project));
  } catch (error) {
    if (error instanceof Failure) return { type: error.type, ...error.details };
    throw error;
  }
};

describe('a request', () => {
  it.each([
    [{}, { backends: ['slow'], volumeType: null, isAny: false }],
    [{ backend: 'fast' }, { backends: ['fast'], volumeType: null, isAny: false }],
    [{ backend: 'any' }, { backends: ['slow', 'fast', 'other'], volumeType: null, isAny: true }],
    [{ volumeType: 'two' }, { backends: ['fast', 'other'], volumeType: 'two', isAny: true }],
    [
      { volumeType: 'two', backend: 'any' },
      { backends: ['fast', 'other'], volumeType: 'two', isAny: true },
    ],
    [
      { volumeType: 'two', backend: 'other' },
      { backends: ['other'], volumeType: 'two', isAny: false },
    ],
    [{ volumeType: 'anywhere' }, { backends: ['slow', 'fast', 'other'], volumeType: 'anywhere', isAny: true }],
    [{ volumeType: 'own' }, { backends: ['fast'], volumeType: 'own', isAny: true }],
    [
      { volumeType: 'fast', imageId: 'follow:debian' },
      { backends: ['fast'], volumeType: 'fast', isAny: true },
    ],
  ])('for %j may be made where it says', async (request, places) => {
    expect(await find(request)).toMatchObject(places);
  });

  it('has the default type where it says nothing, and none where it names a backend', async () => {
    expect(await find({}, { defaultType: 'two' })).toMatchObject({ volumeType: 'two', backends: ['fast', 'other'] });
    expect(await find({ backend: 'slow' }, { defaultType: 'two' })).toMatchObject({
      volumeType: null,
      backends: ['slow'],
    });
    expect(await find({ backend: 'any' }, { defaultType: 'two' })).toMatchObject({ volumeType: null });
  });

  it('finds another project’s type as little as one that is not there', async () => {
    const notFound = (volumeType: string) => ({ type: 'VolumeTypeNotFound', volumeType });
    // A type that the configuration does not name is looked for in the inventory: see the flows of placement.
    expect(await find({ volumeType: 'nobodys' })).toEqual(notFound('nobodys'));
    expect(await find({ volumeType: 'own' }, { project: 'other' })).toEqual(notFound('own'));
    expect(await find({ volumeType: 'own', backend: 'slow' }, { project: 'other' })).toEqual(notFound('own'));
  });

  it('is refused where its backend is none of its type’s, or nobody can say which its follow means', async () => {
    const refused = { type: 'InvalidRequest', field: 'backend' };
    expect(await find({ volumeType: 'two', backend: 'slow' })).toMatchObject(refused);
    expect(await find({ backend: 'absent' })).toMatchObject({ type: 'BackendNotFound', backend: '"absent"' });
    expect(await find({ backend: 'any', imageId: 'follow:debian' })).toMatchObject(refused);
  });
});
