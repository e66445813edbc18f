import { openIdentity, type Identity } from '../../../../activities/keystone/identity';
import { createProjectCheck, maySeeProjects } from '../../../../activities/keystone/project-check';
import { startStandInKeystone, type StandInKeystone } from '../../../support/openstack/stand-in-keystone';

const PROJECT = 'f6e4e9ac26c84a0d8cf0d3ae1dc5f2b1';
const found = { status: 200, body: { project: { id: PROJECT, enabled: true } } };
const disabled = { status: 200, body: { project: { id: PROJECT, enabled: false } } };
const refusal = { type: 'InvalidRequest', details: { field: 'projectId' } };

let keystone: StandInKeystone;
let identity: Identity;

beforeEach(async () => {
  keystone = await startStandInKeystone();
  identity = openIdentity({ authUrl: keystone.url, username: 'ivc', projectName: 'ivc' }, { OS_PASSWORD: 'secret' });
});
afterEach(async () => {
  await identity.close();
  await keystone.stop();
});

it('passes a project that is there, and asks once for many creates', async () => {
  keystone.answerProjects(found);
  const check = createProjectCheck(identity);
  for (let create = 0; create < 3; create += 1) await check(PROJECT);
  expect(keystone.lookups()).toBe(1);
});

it('refuses one that is not there, or is disabled, and asks for it again', async () => {
  const check = createProjectCheck(identity);
  for (const answer of [{ status: 404 }, disabled]) {
    keystone.answerProjects(answer);
    await expect(check(PROJECT)).rejects.toMatchObject(refusal);
  }
  keystone.answerProjects(found);
  await check(PROJECT);
  expect(keystone.lookups()).toBe(3);
});

it('refuses one that is disabled later', async () => {
  keystone.answerProjects(found);
  const check = createProjectCheck(identity, { believedMs: 0 });
  await check(PROJECT);
  keystone.answerProjects(disabled);
  await expect(check(PROJECT)).rejects.toMatchObject(refusal);
});

it('passes every project where our account may not look', async () => {
  const check = createProjectCheck(identity);
  await check(PROJECT);
  await check(PROJECT);
  expect(keystone.lookups()).toBe(1);
  expect(await maySeeProjects(identity)).toBe(false);
  keystone.answerProjects({ status: 404 });
  expect(await maySeeProjects(identity)).toBe(true);
});

it('waits for a Keystone that does not answer, but for a project that was there before', async () => {
  keystone.answerProjects(found);
  const check = createProjectCheck(identity, { believedMs: 0 });
  await check(PROJECT);
  keystone.answerProjects({ status: 503 });
  await check(PROJECT);
  await expect(check('another')).rejects.toMatchObject({ type: 'IdentityUnavailable' });
});

it.each(['..', '.', 'a/b', 'a?b', 'é', 'a b'])('asks nothing about %j, which is no id', async (projectId) => {
  await expect(createProjectCheck(identity)(projectId)).rejects.toMatchObject(refusal);
  expect(keystone.lookups()).toBe(0);
});

it('forgets the project that it has not asked for the longest, of very many', async () => {
  keystone.answerProjects(found);
  const check = createProjectCheck(identity);
  for (let project = 0; project <= 1000; project += 1) await check(`project-${project}`);
  const asked = keystone.lookups();
  await check('project-1000');
  expect(keystone.lookups()).toBe(asked);
  await check('project-0');
  expect(keystone.lookups()).toBe(asked + 1);
});
