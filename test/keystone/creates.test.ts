import { readdirSync, readFileSync } from 'node:fs';
import { createGlanceClient } from '../../activities/glance/client';
import { openIdentity, type Identity } from '../../activities/keystone/identity';
import { MiB } from '../../workflows/contract/bytes';
import { createImageMembers } from '../support/glance/image-members';
import { startRealCloud, newSecret, type RealCloud } from '../support/openstack/cloud';
import { startWatchedGate, type WatchedGate } from '../support/openstack/watched-gate';
import { expectCleanSlate, until, useStack, type UploadedImage } from '../support/stack/flows';
import { startApi } from '../support/stack/api';
import { readIvc } from '../support/stack/ivc';

const START_TIMEOUT_MS = 300_000;
/** A refused account is tried again only so often. */
const REFUSED_TIMEOUT_MS = 120_000;
const SLOW = 1 * MiB;

let cloud: RealCloud;
let gate: WatchedGate;
let identity: Identity;
const secrets = new Set<string>();

const flow = useStack(async ({ after }) => {
  cloud = await startRealCloud({
    tokenSeconds: 30,
    before: async (endpoint) => {
      gate = await startWatchedGate(endpoint);
      return gate.url;
    },
  });
  after(() => cloud.stop());
  after(() => gate.close());
  identity = openIdentity({ cloud: 'ivc' }, cloud.environment);
  after(() => identity.close());
  secrets.add(cloud.account.password);
  return {
    config: { identity: { cloud: 'ivc' }, images: { service: 'catalogue' } },
    environment: cloud.environment,
    imagesEndpoint: cloud.glance.endpoint,
    getToken: identity.getToken,
  };
}, START_TIMEOUT_MS);

afterEach(async () => {
  gate.pace(Infinity);
  await expectCleanSlate(flow.stack);
});

const ofProject = () => ({ projectId: cloud.account.projectId });

/** Starts a create of an image that nobody has cached, and returns in the middle of its download, which is held. */
async function startSlowly(name: string) {
  const uploaded = await flow.upload(name, { diskFormat: 'raw', virtualBytes: 8 * MiB, dataBytes: 8 * MiB });
  const before = gate.bytesPassed();
  gate.pace(SLOW);
  const running = await flow.start(uploaded.image, ofProject());
  await until('some of the image to come', async () => gate.bytesPassed() > before + MiB);
  gate.pace(0);
  return { uploaded, running };
}

async function expectWhole({ sample }: UploadedImage, result: Awaited<ReturnType<typeof flow.create>>): Promise<void> {
  expect(result).toMatchObject({ outcome: 'miss' });
  await flow.expectGuestBytes(sample, result);
}

it('a miss and a hit ask with tokens of the installation, whoever the project is', async () => {
  const { sample, image } = await flow.upload('plain');
  await expectWhole({ sample, image }, await flow.create(image, ofProject()));
  const token = (await identity.getToken()).reveal();
  const members = createImageMembers(cloud.glance.endpoint, { 'x-auth-token': token });
  await members.add(image.id, 'another');
  expect(await flow.create(image, { projectId: 'another' })).toMatchObject({ outcome: 'hit' });
  expect(gate.tokens()).toHaveLength(1);
});

it('a download whose token is revoked and whose connection is cut goes on from its byte with a new token', async () => {
  const { uploaded, running } = await startSlowly('revoked');
  const before = gate.tokens();
  for (const token of before) await cloud.keystone.operator.revoke(token).catch(() => undefined);
  gate.pace(Infinity);
  gate.cut();
  await expectWhole(uploaded, await running.result());
  expect(gate.tokens().length).toBe(before.length + 1);
  expect(gate.heads()).toMatch(new RegExp(`GET \\S+/${uploaded.image.id}/file [^]*?range: bytes=[1-9]`, 'i'));
});

it('a download goes on after Keystone was down and the connection cut meanwhile', async () => {
  const { uploaded, running } = await startSlowly('restarted');
  await cloud.keystone.stop();
  try {
    gate.cut();
    gate.pace(Infinity);
    await until('the download to be tried again', async () =>
      (await flow.heartbeatOf(uploaded.image)).includes('failure'),
    );
    expect((await running.handle.describe()).status.name).toBe('RUNNING');
  } finally {
    await cloud.keystone.start();
  }
  await expectWhole(uploaded, await running.result());
});

it(
  'a create waits while Keystone refuses the account, and goes on when the password is corrected',
  async () => {
    const { sample, image } = await flow.upload('refused');
    const password = newSecret();
    secrets.add(password);
    await cloud.changePassword(password, { inFile: false });
    const running = await flow.start(image, ofProject());
    const failure = await until('the create to be refused', async () => {
      const { raw } = await running.handle.describe();
      return raw.pendingActivities?.[0]?.lastFailure ?? undefined;
    });
    expect(failure.applicationFailureInfo?.type).toBe('CredentialsRefused');
    await cloud.changePassword(password, { inFile: true });
    await expectWhole({ sample, image }, await running.result());
  },
  REFUSED_TIMEOUT_MS,
);

it('a worker whose account may read no images does not start, and says so', async () => {
  const worker = await flow.stack.spawnWorker({ environment: { OS_CLOUD: 'auditor' } });
  await expect(worker.ready).rejects.toThrow(/identity: got user auditor of project ivc, allowed is/);
});

describe('doctor', () => {
  const doctor = async (name: string) => {
    const environment = { ...flow.stack.environment, OS_CLOUD: name };
    const { document } = await readIvc(['doctor'], environment);
    const { findings } = document as { findings: { check: string; state: string; found: string }[] };
    return findings.find(({ check }) => check === 'identity');
  };

  it('says who the installation is in Keystone, and where its images are', async () => {
    const found = await doctor('ivc');
    expect(found).toMatchObject({ state: 'ok' });
    for (const part of [cloud.keystone.url, 'ivc', 'member', gate.url]) expect(found?.found).toContain(part);
  });

  it('says that the account is refused', async () => {
    expect(await doctor('ivc-wrong')).toMatchObject({ state: 'fault', unavailable: true });
  });
});

it('no token and no password is in a log, a history, the database or a command line', async () => {
  const { uploaded, running } = await startSlowly('searched');
  const commandLines = readCommandLines();
  gate.pace(Infinity);
  await expectWhole(uploaded, await running.result());
  const places = {
    commandLines,
    logs: flow.stack.workers.map(({ logPath }) => readFileSync(logPath, 'utf8')).join('\n'),
    histories: await readHistories(),
    database: await readDatabase(),
  };
  // Each place has what it must have: it was really read.
  expect(places.commandLines).toContain('dist/worker/main.js');
  expect(places.logs).toContain('worker polls');
  for (const place of ['histories', 'database'] as const) expect(places[place]).toContain(uploaded.image.id);
  for (const token of gate.tokens()) secrets.add(token);
  expect(secrets.size).toBeGreaterThan(3);
  for (const [place, text] of Object.entries(places))
    for (const secret of secrets) expect({ place, hasIt: text.includes(secret) }).toEqual({ place, hasIt: false });
});

function readCommandLines(): string {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      } catch {
        // It has ended meanwhile.
        return '';
      }
    })
    .join('\n');
}

/** Of all runs of the stack, with what their payloads hold. */
async function readHistories(): Promise<string> {
  const { client, cache } = flow.stack;
  const texts: string[] = [];
  const query = `TaskQueue = "${cache.queues.control}"`;
  for await (const { workflowId, runId } of client.workflow.list({ query })) {
    const handle = client.workflow.getHandle(workflowId, runId);
    texts.push(...textsOf(await handle.fetchHistory()), ...textsOf((await handle.describe()).raw));
  }
  return texts.join('\n');
}

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array || Buffer.isBuffer(value)) return [Buffer.from(value).toString('utf8')];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsOf);
}

async function readDatabase(): Promise<string> {
  const { sql } = flow.stack.database;
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables where table_schema = 'public'`;
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await sql<{ text: string }[]>`select row_to_json(t)::text as text from ${sql(name)} t`;
    texts.push(...rows.map(({ text }) => text));
  }
  return texts.join('\n');
}

it('the block-storage API asks Keystone whose each token is, and lets roles decide', async () => {
  const { operator } = cloud.keystone;
  await operator.ensureAccount({ user: 'ivc', password: cloud.account.password, project: 'ivc', roles: ['service'] });
  const member = await cloud.addProject('api-member', ['member']);
  const reader = await cloud.addProject('api-reader', ['reader']);
  const [members, readers] = [member, reader].map(({ identity: config, password }) =>
    openIdentity(config, { OS_PASSWORD: password }),
  ) as [Identity, Identity];
  const api = await startApi(flow.stack, { auth: 'keystone', tokenCache: '1s' });
  const as = async (token: string | undefined, request: string, body?: object) =>
    await api.call(request, body, { headers: token === undefined ? {} : { 'x-auth-token': token } });
  try {
    const [mine, reads] = [(await members.getToken()).reveal(), (await readers.getToken()).reveal()];
    const volumes = `/v3/${member.projectId}/volumes`;
    const created = await as(mine, `POST ${volumes}`, { volume: { size: 1 } });
    expect(created).toMatchObject({ status: 202, body: { volume: { size: 1 } } });
    expect((await as(mine, `GET /v3/volumes/${created.body.volume.id}`)).status).toBe(200);
    expect((await as(reads, `GET ${volumes}`)).status).toBe(400);
    expect((await as(reads, `GET /v3/volumes/${created.body.volume.id}`)).status).toBe(404);
    expect(await as(reads, 'POST /v3/volumes', { volume: { size: 1 } })).toMatchObject({
      status: 403,
      body: { forbidden: { code: 403, message: "Policy doesn't allow volume:create to be performed." } },
    });
    for (const token of [undefined, 'nobody', '\u00ff\u00fe']) {
      const refused = await as(token, `GET ${volumes}`);
      expect(refused.status).toBe(401);
      expect(refused.headers.get('www-authenticate')).toBe(`Keystone uri="${cloud.keystone.url}"`);
    }
    await operator.revoke(mine);
    await until('the revoked token to be refused', async () => (await as(mine, `GET ${volumes}`)).status === 401);
    await until('the volume to be available', async () => {
      const row = await flow.volume(created.body.volume.id);
      return row?.state === 'available';
    });
  } finally {
    await Promise.all([api.stop(), members.close(), readers.close()]);
  }
});

it('the block-storage API makes an image of a volume, which its project has at once', async () => {
  const { password } = cloud.account;
  const roles = ['service', 'image_volume_cache'];
  await cloud.keystone.operator.ensureAccount({ user: 'ivc', password, project: 'ivc', roles });
  const member = await cloud.addProject('api-uploads', ['member']);
  const account = openIdentity(member.identity, { OS_PASSWORD: member.password });
  const images = createGlanceClient({ endpoint: cloud.glance.endpoint, getToken: account.getToken });
  const api = await startApi(flow.stack, { auth: 'keystone' });
  const ask = async (request: string, body?: object) =>
    await api.call(request, body, { headers: { 'x-auth-token': (await account.getToken()).reveal() } });
  const untilAvailable = async (id: string) =>
    await until('the volume to be available', async () => {
      return (await ask(`GET /v3/volumes/${id}`)).body.volume.status === 'available';
    });
  try {
    const { id } = (await ask('POST /v3/volumes', { volume: { size: 1 } })).body.volume;
    await untilAvailable(id);
    const action = { image_name: 'of-a-volume', disk_format: 'qcow2', protected: true };
    const upload = async (more: object = {}) =>
      await ask(`POST /v3/volumes/${id}/action`, { 'os-volume_upload_image': { ...action, ...more } });
    expect((await upload({ visibility: 'public' })).status).toBe(403);
    const uploaded = await upload();
    expect(uploaded).toMatchObject({ status: 202, body: { 'os-volume_upload_image': { status: 'uploading' } } });
    const imageId: string = uploaded.body['os-volume_upload_image'].image_id;
    expect(await images.getImage(imageId)).toMatchObject({ name: 'of-a-volume', owner: member.projectId });
    await untilAvailable(id);
    expect(await images.getImage(imageId)).toMatchObject({ status: 'active', protected: true, visibility: 'private' });
  } finally {
    await Promise.all([api.stop(), images.close(), account.close()]);
  }
});
