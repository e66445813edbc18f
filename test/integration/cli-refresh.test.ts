import { randomUUID } from 'node:crypto';
import { useStack } from '../support/stack/flows';
import { refreshFlows } from '../support/stack/refresh';
import { readIvc, runIvc, spawnIvc } from '../support/stack/ivc';

const flow = useStack();
const { publish } = refreshFlows(flow);
const ivc = (...args: string[]) => runIvc(args, flow.stack.environment);
const ivcJson = (...args: string[]) => readIvc(args, flow.stack.environment);
const gate = (imageId: string) =>
  flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId, times: 1_000_000 });

afterEach(() => flow.stack.imageService.clearFaults());

describe('ivc cache warm', () => {
  it('tells of each image in a table, and as one document', async () => {
    const [one, two] = [await publish(), await publish()];
    const { stdout, stderr, exitCode } = await ivc('cache', 'warm', '--image', one.id, two.id);
    expect(exitCode).toBe(0);
    for (const { id } of [one, two])
      expect(stdout).toMatch(new RegExp(`^${id.slice(0, 8)}  ${flow.stack.backend}  populated  2 MiB`, 'm'));
    expect(stderr).toContain('2 populated');
    const again = await ivcJson('cache', 'warm', '--image', one.id, '--image', two.id, '--all', '--pin');
    expect(again).toMatchObject({
      exitCode: 0,
      document: {
        warmed: [{ outcome: 'ready' }, { outcome: 'ready' }],
        workflowId: expect.stringMatching(/^[a-z0-9-]+-warm\//),
      },
    });
  });

  it('exits with 1 when an image cannot be warmed, and warms the others', async () => {
    const [image, broken] = [await publish(), await publish({ diskFormat: 'qcow2' })];
    const absent = await ivcJson('cache', 'warm', '--image', randomUUID(), image.id);
    expect(absent).toMatchObject({ exitCode: 3, document: { error: { type: 'ImageNotFound' } } });
    const { document, exitCode } = await ivcJson('cache', 'warm', '--image', broken.id, image.id);
    expect(exitCode).toBe(1);
    expect((document['warmed'] as { outcome: string }[]).map(({ outcome }) => outcome).sort()).toEqual([
      'failed',
      'populated',
    ]);
  });

  it('shows what it waits for, and says how to look at it when it is interrupted', async () => {
    const image = await publish();
    await gate(image.id);
    const running = spawnIvc(['cache', 'warm', '--image', image.id], flow.stack.environment);
    await running.says(`image ${image.id}`);
    running.process.kill('SIGINT');
    const { stderr, exitCode } = await running.ended;
    expect(exitCode).toBe(130);
    expect(stderr).toMatch(/temporal workflow describe --workflow-id \S+-warm\//);
    await flow.stack.imageService.clearFaults();
    await flow.until('the warming to end by itself', async () => (await flow.flightOf(image))?.answered ?? false);
  });

  it('does not wait when it is told not to', async () => {
    const image = await publish();
    const { stdout, exitCode } = await ivc('cache', 'warm', '--image', image.id, '--no-wait');
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^[a-z0-9-]+-warm\/[0-9a-f-]{36}\n$/)]);
    await flow.stack.client.workflow.getHandle(stdout.trim()).result();
  });

  it.each([
    ['no image', [], '--image'],
    ['both a backend and all', ['--image', randomUUID(), '--all', '--backend', 'x'], '--backend'],
  ])('refuses %s', async (_what, args, named) => {
    expect(await ivcJson('cache', 'warm', ...args)).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'Usage', message: expect.stringContaining(named) } },
    });
  });
});

it('warms no image that has neither such an id nor such a name', async () => {
  expect(await ivcJson('cache', 'warm', '--image', 'debian')).toMatchObject({
    exitCode: 3,
    document: { error: { type: 'ImageNotFound', message: expect.stringContaining('no image "debian"') } },
  });
});

describe('ivc cache follow', () => {
  it('follows, lists, creates from what is followed, and unfollows', async () => {
    const first = await publish({ name: 'debian-12', tags: ['latest'], properties: { os_distro: 'debian' } });
    const meaning = ['--name', 'debian-12', '--tag', 'latest', '--property', 'os_distro=debian'];
    const followed = await ivc('cache', 'follow', ...meaning, '--keep', '1', '--pin');
    expect(followed.exitCode).toBe(0);
    expect(followed.stdout).toMatch(new RegExp(`^imageId +${first.id}\\noutcome +flipped$`, 'm'));
    expect(followed.stderr).toContain(`ivc volume create --image follow:debian-12 --backend ${flow.stack.backend}`);

    const created = await ivcJson('volume', 'create', '--image', 'follow:debian-12');
    expect(created).toMatchObject({ exitCode: 0, document: { outcome: 'hit', imageId: first.id } });
    await publish({ name: 'debian-12' });
    const second = await publish({ name: 'debian-12', tags: ['latest'], properties: { os_distro: 'debian' } });
    expect(await ivcJson('refresh', '--follow', 'debian-12')).toMatchObject({
      exitCode: 0,
      document: { imagesAsked: 0, follows: [{ name: 'debian-12', outcome: 'flipped', imageId: second.id }] },
    });
    const { stdout } = await ivc('cache', 'follows');
    expect(stdout).toMatch(
      new RegExp(
        `^debian-12  ${flow.stack.backend}  debian-12, latest, os_distro=debian +${second.id.slice(0, 8)}`,
        'm',
      ),
    );
    expect((await ivcJson('cache', 'follows', '--backend', flow.stack.backend)).document).toMatchObject({
      follows: [{ name: 'debian-12', keep: 1, pin: true, currentImageId: second.id, newestImageId: second.id }],
    });
    expect(await ivcJson('cache', 'unfollow', 'debian-12')).toMatchObject({
      exitCode: 0,
      document: { outcome: 'removed' },
    });
    expect((await ivcJson('cache', 'follows')).document).toEqual({ follows: [] });
    expect(await ivcJson('volume', 'create', '--image', 'follow:debian-12')).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'FollowNotFound', details: { follow: 'debian-12' } } },
    });
  });

  it('exits with 1 when the newest image cannot be cached, and with 0 when there is none yet', async () => {
    const { id } = await publish({ name: 'broken', diskFormat: 'qcow2' });
    expect(await ivcJson('cache', 'follow', '--name', 'broken')).toMatchObject({
      exitCode: 1,
      document: { outcome: 'failed', imageId: id },
    });
    const none = await ivcJson('cache', 'follow', '--name', 'not yet', '--as', 'not-yet');
    expect(none).toMatchObject({ exitCode: 0, document: { name: 'not-yet', outcome: 'no-match', imageId: null } });
  });

  it('refuses a name that no follow can have', async () => {
    expect(await ivcJson('cache', 'follow', '--name', 'Debian 12')).toMatchObject({
      exitCode: 2,
      document: { error: { type: 'InvalidRequest', details: { field: 'name', value: '"Debian 12"' } } },
    });
  });
});

describe('ivc refresh', () => {
  it('tells what it found, as text and as one document', async () => {
    const [image, kept] = [await publish(), await publish()];
    await ivc('cache', 'warm', '--image', image.id, kept.id);
    await flow.stack.images.deleteImage(image.id);
    const { document, exitCode } = await ivcJson('refresh', '--image', image.id);
    expect(exitCode).toBe(0);
    expect(document).toMatchObject({ imagesAsked: 1, gone: 1, deletedEntries: 1, follows: [] });
    expect(document['retiredEntries']).toHaveLength(1);
    const { stdout } = await ivc('refresh', '--image', image.id);
    expect(stdout).toMatch(/^images +0 checked: 0 usable, 0 deactivated, 0 gone, 0 unanswered$/m);
  });

  it('exits with 1 when something was not answered for', async () => {
    const image = await publish();
    await ivc('cache', 'warm', '--image', image.id);
    await flow.stack.imageService.inject({ kind: 'status-500', on: 'record', imageId: image.id, times: 1000 });
    expect(await ivcJson('refresh', '--image', image.id)).toMatchObject({ exitCode: 1, document: { unanswered: 1 } });
  });

  it('of everything is one run, however many ask for it', async () => {
    const { refresh } = flow.stack.cache.queues.ids;
    const documents = await Promise.all([ivcJson('refresh', '--no-wait'), ivcJson('refresh', '--no-wait')]);
    expect(documents).toMatchObject([{ document: { workflowId: refresh } }, { document: { workflowId: refresh } }]);
    await flow.stack.client.workflow.getHandle(refresh).result();
  });

  it('exits with 3 for a follow that is not there', async () => {
    expect(await ivcJson('refresh', '--follow', 'nothing')).toMatchObject({
      exitCode: 3,
      document: { error: { type: 'FollowNotFound', details: { follow: 'nothing' } } },
    });
  });
});
