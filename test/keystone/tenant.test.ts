import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTenant } from '../../activities/keystone/find-tenant';
import { openIdentity, type Identity } from '../../activities/keystone/identity';
import { createProjectCheck, maySeeProjects } from '../../activities/keystone/project-check';
import type { TenantConfig } from '../../activities/keystone/tenant-config';
import { newSecret } from '../support/openstack/cloud';
import { startRealKeystone, type RealKeystone } from '../support/openstack/keystone';

const START_TIMEOUT_MS = 300_000;
const GONE = 'ffffffffffffffffffffffffffffffff';

describe('the internal tenant in a real Keystone', () => {
  const passwords = { ivc: newSecret(), overseer: newSecret() };
  let directory: string;
  let keystone: RealKeystone;
  let own: { userId: string; projectId: string };
  let other: { userId: string; projectId: string };
  /** Of a member, and of an administrator. */
  let member: Identity;
  let admin: Identity;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-tenant-'));
    keystone = await startRealKeystone({ directory: join(directory, 'keystone'), tokenSeconds: 600 });
    const { operator } = keystone;
    const account = (user: 'ivc' | 'overseer', roles: string[]) =>
      operator.ensureAccount({ user, password: passwords[user], project: user, roles });
    own = await account('ivc', ['member']);
    await account('overseer', ['admin']);
    other = await operator.ensureAccount({
      user: 'tenant',
      password: newSecret(),
      project: 'tenant',
      roles: ['member'],
    });
    const open = (name: 'ivc' | 'overseer') =>
      openIdentity({ authUrl: keystone.url, username: name, projectName: name }, { OS_PASSWORD: passwords[name] });
    [member, admin] = [open('ivc'), open('overseer')];
  }, START_TIMEOUT_MS);
  afterAll(async () => {
    await Promise.all([member.close(), admin.close()]);
    await keystone.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it.each<TenantConfig>([{}, { projectName: 'ivc' }, { userName: 'ivc', projectName: 'ivc' }])(
    "is the account's own, which needs no right: %j",
    async (config) => {
      expect(await findTenant(member, config)).toMatchObject({
        ...own,
        label: 'user ivc of project ivc',
        doubt: undefined,
      });
    },
  );

  it('is another one, by id or by name, that an administrator may look for', async () => {
    const found = { ...other, label: 'user tenant of project tenant', doubt: undefined };
    expect(await findTenant(admin, { ...other })).toMatchObject(found);
    expect(await findTenant(admin, { projectName: 'tenant', userName: 'tenant' })).toMatchObject(found);
    expect(await findTenant(admin, { projectName: 'tenant', userId: other.userId })).toMatchObject(found);
  });

  it('is taken by its id, with a doubt, by an account that may not look; by name it cannot be', async () => {
    expect(await findTenant(member, { ...other })).toMatchObject({ ...other, doubt: expect.any(String) });
    await expect(findTenant(member, { projectName: 'tenant' })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'internalTenant.projectName', value: 'tenant' },
    });
  });

  it.each<[TenantConfig, string]>([
    [{ projectId: GONE }, 'projectId'],
    [{ projectName: 'nobody' }, 'projectName'],
    [{ projectName: 'tenant', projectDomainId: 'elsewhere' }, 'projectName'],
    [{ userId: GONE }, 'userId'],
    [{ userName: 'nobody' }, 'userName'],
  ])('is refused where there is none: %j', async (config, field) => {
    await expect(findTenant(admin, config)).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: `internalTenant.${field}`, value: Object.values(config)[0] as string },
    });
  });

  it('is refused where the user has no role in the project', async () => {
    await expect(findTenant(admin, { projectName: 'tenant', userName: 'ivc' })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'internalTenant.userId', value: 'ivc' },
    });
  });

  it.each(['project', 'user'] as const)('is refused where its %s is disabled', async (kind) => {
    const name = `disabled-${kind}`;
    const ids = await keystone.operator.ensureAccount({
      user: name,
      password: newSecret(),
      project: name,
      roles: ['member'],
    });
    const byName = { projectName: name, userName: name };
    expect(await findTenant(admin, byName)).toMatchObject(ids);
    await keystone.operator.disable(kind, kind === 'project' ? ids.projectId : ids.userId);
    await expect(findTenant(admin, byName)).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: `internalTenant.${kind}Name`, value: expect.stringContaining('disabled') },
    });
  });

  it("a create's project is looked up by who may, and passes else", async () => {
    const gone = await keystone.operator.ensureAccount({
      user: 'gone',
      password: newSecret(),
      project: 'gone',
      roles: ['member'],
    });
    await keystone.operator.disable('project', gone.projectId);
    const check = createProjectCheck(admin);
    await check(other.projectId);
    for (const projectId of [GONE, gone.projectId])
      await expect(check(projectId)).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { field: 'projectId', value: expect.stringContaining(projectId) },
      });
    const unseeing = createProjectCheck(member);
    for (const projectId of [own.projectId, other.projectId, GONE, gone.projectId]) await unseeing(projectId);
    expect([await maySeeProjects(admin), await maySeeProjects(member)]).toEqual([true, false]);
  });
});
