import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { createGlanceClient } from '../../activities/glance/client';
import type { ImageService } from '../../activities/glance/image-service';
import { openIdentity, type Identity } from '../../activities/keystone/identity';
import type { IdentityConfig } from '../../activities/keystone/identity-config';
import { MiB } from '../../workflows/contract/bytes';
import { waitFor } from '../../worker/stack/wait';
import { newSecret, NOWHERE, startRealCloud, type RealCloud } from '../support/openstack/cloud';
import { notTheDate } from '../support/timers';

const TOKEN_SECONDS = 30;
const START_TIMEOUT_MS = 300_000;
const IMAGE_BYTES = 4 * MiB;

describe('an account at a real Keystone', () => {
  const bytes = randomBytes(IMAGE_BYTES);
  let cloud: RealCloud;
  const opened: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    cloud = await startRealCloud({ tokenSeconds: TOKEN_SECONDS });
  }, START_TIMEOUT_MS);
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
  });
  afterAll(async () => await cloud.stop());

  function open(config: IdentityConfig, more: NodeJS.ProcessEnv = {}): Identity {
    const identity = openIdentity(config, { ...cloud.environment, ...more });
    opened.push(identity);
    return identity;
  }

  async function connect(identity: Identity): Promise<ImageService> {
    const images = createGlanceClient({ endpoint: await identity.findImageEndpoint(), getToken: identity.getToken });
    opened.push(images);
    return images;
  }

  async function upload(images: ImageService): Promise<string> {
    const { id } = await images.createImage({ name: 'raw', diskFormat: 'raw', containerFormat: 'bare' });
    await images.uploadImage({ imageId: id, body: Readable.from([bytes]), sizeBytes: bytes.length });
    return id;
  }

  /** @returns how many tokens were given meanwhile, those of operators and of Glance aside. */
  async function tokensOf(identity: Identity, work: (fresh: Set<unknown>) => Promise<void>): Promise<number> {
    const tokens = new Set<unknown>([await identity.getToken()]);
    await work(tokens);
    return tokens.size - 1;
  }

  describe('is taken', () => {
    it('by password, from clouds.yaml and secure.yaml', async () => {
      const identity = open({ cloud: 'ivc' });
      expect(await identity.describeAccount()).toMatchObject({
        user: 'ivc',
        project: 'ivc',
        roles: ['member', 'reader'],
      });
    });

    it('by application credential', async () => {
      const identity = open({ cloud: 'ivc-credential' });
      expect(await identity.describeAccount()).toMatchObject({ user: 'ivc', project: 'ivc' });
      const images = await connect(identity);
      expect(await images.getImage(await upload(images))).toMatchObject({ status: 'active', sizeBytes: IMAGE_BYTES });
    });

    it('by a token', async () => {
      const given = await open({ cloud: 'ivc' }).getToken();
      const variables = {
        OS_AUTH_URL: cloud.keystone.url,
        OS_TOKEN: given.reveal(),
        OS_PROJECT_ID: cloud.account.projectId,
      };
      const identity = open({ cloud: 'envvars' }, { ...variables, OS_AUTH_TYPE: 'v3token' });
      expect(await identity.describeAccount()).toMatchObject({ user: 'ivc', project: 'ivc' });
    });

    it('from the variables of an openrc file', async () => {
      const { userId, password } = cloud.account;
      const variables = {
        OS_AUTH_URL: cloud.keystone.url,
        OS_USER_ID: userId,
        OS_PASSWORD: password,
        OS_PROJECT_NAME: 'ivc',
      };
      const identity = open({ cloud: 'envvars' }, { ...variables, OS_PROJECT_DOMAIN_NAME: 'Default' });
      expect(await identity.describeAccount()).toMatchObject({ user: 'ivc', project: 'ivc' });
    });

    it('from the configuration, with the password in the environment', async () => {
      const written = { authUrl: cloud.keystone.url, username: 'ivc', projectName: 'ivc' };
      const identity = open(written, { OS_PASSWORD: cloud.account.password });
      expect(await identity.describeAccount()).toMatchObject({ user: 'ivc', project: 'ivc' });
    });
  });

  describe('with two regions in its catalogue', () => {
    it('has the image endpoint of the region that is meant', async () => {
      expect(await open({ cloud: 'ivc' }).findImageEndpoint()).toBe(cloud.glance.endpoint);
      expect(await open({ cloud: 'ivc', region: 'RegionTwo' }).findImageEndpoint()).toBe(NOWHERE);
      expect(await open({ cloud: 'ivc', interface: 'internal' }).findImageEndpoint()).toBe(cloud.glance.endpoint);
    });

    it.each([undefined, 'RegionThree'])('guesses none for the region %s', async (region) => {
      await expect(open({ cloud: 'ivc-anywhere', region }).findImageEndpoint()).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'clouds.ivc-anywhere.region_name', allowed: expect.stringContaining('RegionOne, RegionTwo') },
      });
    });
  });

  it('is refused with a wrong password, and says neither that nor more to users', async () => {
    const failure: unknown = await open({ cloud: 'ivc-wrong' })
      .getToken()
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'CredentialsRefused', details: { account: 'user ivc' }, isFinal: false });
    expect((failure as Error).message).not.toContain('ivc-wrong');
  });

  it('is asked for one token by 16 callers at once, and for another one when that is rejected', async () => {
    const identity = open({ cloud: 'ivc' });
    const before = await cloud.keystone.countTokens();
    const first = await Promise.all(Array.from({ length: 16 }, () => identity.getToken()));
    expect(new Set(first).size).toBe(1);
    expect(await cloud.keystone.countTokens()).toBe(before + 1);
    const second = await Promise.all(first.map((token) => identity.getToken(token)));
    expect(new Set([...first, ...second]).size).toBe(2);
    expect(await cloud.keystone.countTokens()).toBe(before + 2);
  });

  it('has 16 calls of a service go on with one new token when theirs is revoked', async () => {
    const identity = open({ cloud: 'ivc' });
    const images = await connect(identity);
    const id = await upload(images);
    const fresh = await tokensOf(identity, async (tokens) => {
      await cloud.keystone.operator.revoke((await identity.getToken()).reveal());
      const found = await Promise.all(Array.from({ length: 16 }, () => images.getImage(id)));
      expect(found.map((image) => image.id)).toEqual(Array.from({ length: 16 }, () => id));
      tokens.add(await identity.getToken());
    });
    expect(fresh).toBe(1);
  });

  it('uploads with a new token in place of a revoked one', async () => {
    const identity = open({ cloud: 'ivc' });
    const images = await connect(identity);
    const { id } = await images.createImage({ name: 'raw', diskFormat: 'raw', containerFormat: 'bare' });
    await cloud.keystone.operator.revoke((await identity.getToken()).reveal());
    await images.uploadImage({ imageId: id, body: Readable.from([bytes]), sizeBytes: bytes.length });
    expect(await images.getImage(id)).toMatchObject({ status: 'active' });
  });

  it('goes on with a download after its token was revoked', async () => {
    const identity = open({ cloud: 'ivc' });
    const images = await connect(identity);
    const id = await upload(images);
    await cloud.keystone.operator.revoke((await identity.getToken()).reveal());
    const half = IMAGE_BYTES / 2;
    const part = { imageId: id, offsetBytes: half, expectedBytes: IMAGE_BYTES };
    const taken: Buffer = Buffer.alloc(half);
    let filled = 0;
    const sink = {
      room: () => taken.subarray(filled),
      filled: (count: number) => void (filled += count),
      awaitRoom: async () => undefined,
    };
    // In the fast way, and in the general one.
    expect(await images.downloadInto?.(part, sink)).toBe(true);
    expect(taken.equals(bytes.subarray(half))).toBe(true);
    await cloud.keystone.operator.revoke((await identity.getToken()).reveal());
    expect((await buffer((await images.openDownload(part)).body)).equals(bytes.subarray(half))).toBe(true);
  });

  it('does not take its token for spent because our clock is ahead', async () => {
    await withClockOff(HOURS_MS, async () => {
      const ahead = open({ cloud: 'ivc' });
      const fresh = await tokensOf(ahead, async (tokens) => {
        for (let call = 0; call < 10; call += 1) tokens.add(await ahead.getToken());
      });
      expect(fresh).toBe(0);
      const { clockAheadMs = 0 } = await ahead.describeAccount();
      expect(Math.abs(clockAheadMs + HOURS_MS)).toBeLessThan(60_000);
    });
  });

  it('always has a valid token, for longer than one lives, though our clock is behind', async () => {
    await withClockOff(-HOURS_MS, async () => {
      const identity = open({ cloud: 'ivc' });
      const fresh = await tokensOf(identity, async (tokens) => {
        const start = performance.now();
        while (performance.now() - start < (TOKEN_SECONDS + 2) * 1000) {
          const token = await identity.getToken();
          tokens.add(token);
          const headers = { 'x-auth-token': token.reveal() };
          expect((await fetch(`${cloud.glance.endpoint}/v2/images?limit=1`, { headers })).status).toBe(200);
          await new Promise((done) => setTimeout(done, 250));
        }
      });
      expect(fresh).toBe(1);
    });
  });

  it('uses its token while Keystone is down, and has another one when it is up again', async () => {
    const identity = open({ cloud: 'ivc' });
    const first = await identity.getToken();
    await cloud.keystone.stop();
    expect(await identity.getToken()).toBe(first);
    await expect(identity.getToken(first)).rejects.toMatchObject({ type: 'IdentityUnavailable', isFinal: false });
    await cloud.keystone.start();
    expect(await identity.getToken(first)).not.toBe(first);
  });

  it('takes a password that was changed without being opened anew', async () => {
    const identity = open({ cloud: 'ivc' });
    const first = await identity.getToken();
    const password = newSecret();
    await cloud.changePassword(password, { inFile: false });
    await expect(identity.getToken(first)).rejects.toMatchObject({ type: 'CredentialsRefused' });
    await cloud.changePassword(password, { inFile: true });
    const second = await waitFor(async () => await identity.getToken(), {
      what: 'the new password to be tried',
      deadlineMs: 30_000,
      intervalMs: 500,
    });
    expect(second).not.toBe(first);
  });

  it('shows no secret of its own in whatever way it is looked at', async () => {
    const identity = open({ cloud: 'ivc-credential' });
    const token = await identity.getToken();
    const shown = [
      inspect(identity, { depth: 10, showHidden: true }),
      JSON.stringify({ token }),
      String(token),
      inspect(token),
    ];
    for (const secret of [token.reveal(), cloud.account.credentialSecret]) expect(shown.join()).not.toContain(secret);
  });
});

const HOURS_MS = 3 * 3_600_000;

/** Does `work` while `Date` is so far from the servers' clocks; every other clock and timer is the real one. */
async function withClockOff<Result>(byMs: number, work: () => Promise<Result>): Promise<Result> {
  jest.useFakeTimers({ now: Date.now() + byMs, doNotFake: [...notTheDate] });
  try {
    return await work();
  } finally {
    jest.useRealTimers();
  }
}
