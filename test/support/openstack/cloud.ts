import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import type { IdentityConfig } from '../../../activities/keystone/identity-config';
import type { ProjectId } from '../../../workflows/contract/ids';
import { startRealGlance, type RealGlance } from '../glance/real-glance';
import { undoneOnFailure } from '../machine/undos';
import { startRealKeystone, type RealKeystone } from './keystone';

/** A real Keystone with a real Glance that wants its tokens, in the catalogue's regions `RegionOne` and, at an address where nothing is, `RegionTwo`. */
export interface RealCloud {
  keystone: RealKeystone;
  glance: RealGlance;
  /** Is removed with it. */
  directory: string;
  /** Ids and password of the one user, a member of its project. */
  account: { userId: string; projectId: string; password: string; credentialSecret: string };
  /**
   * Names `clouds.yaml` with `ivc` (a password, which is in `secure.yaml`), `ivc-credential` (an application credential), `ivc-wrong` (a wrong password),
   * `ivc-anywhere` (no region), and `auditor`, another user, who may read no images.
   */
  environment: NodeJS.ProcessEnv;
  /** A project with one user of its name. */
  addProject(name: string, roles: string[]): Promise<CloudProject>;
  /** Changes the user's password, in Keystone and, if it is said, in `secure.yaml`. */
  changePassword(password: string, options: { inFile: boolean }): Promise<void>;
  stop(): Promise<void>;
}

export interface CloudProject {
  projectId: ProjectId;
  /** As the section `identity` has its user, whose password is `OS_PASSWORD`. */
  identity: IdentityConfig;
  password: string;
}

/** The policy for Glance that this product comes with. */
const POLICY = resolve(__dirname, '../../../docs/glance/policy.yaml');

export const NOWHERE = 'http://127.0.0.1:9';

interface CloudOptions {
  tokenSeconds: number;
  /** See `KeystoneAccount`: for tests that revoke none. */
  cachesTokens?: boolean;
  /** Puts something before Glance. @returns the endpoint that the catalogue shows in its place. */
  before?: (endpoint: string) => Promise<string>;
}

export async function startRealCloud({ tokenSeconds, cachesTokens, before }: CloudOptions): Promise<RealCloud> {
  return await undoneOnFailure(async (undos) => {
    const directory = await mkdtemp(join(tmpdir(), 'ivc-cloud-'));
    undos.after(() => rm(directory, { recursive: true, force: true }));
    const keystone = await startRealKeystone({ directory: join(directory, 'keystone'), tokenSeconds });
    undos.after(() => keystone.stop());
    const { operator, url } = keystone;
    const glanceAccount = { user: 'glance', password: newSecret(), project: 'service' };
    await operator.ensureAccount({ ...glanceAccount, roles: ['admin'] });
    const own = { user: 'ivc', password: newSecret(), project: 'ivc' };
    const ids = await operator.ensureAccount({ ...own, roles: ['member'] });
    const auditor = { user: 'auditor', password: newSecret(), project: 'ivc' };
    await operator.ensureAccount({ ...auditor, roles: ['auditor'] });
    const glance = await startRealGlance({ keystone: { url, ...glanceAccount, cachesTokens }, policy: POLICY });
    undos.after(() => glance.stop());
    await operator.addEndpoints({
      type: 'image',
      region: 'RegionOne',
      url: (await before?.(glance.endpoint)) ?? glance.endpoint,
    });
    await operator.addEndpoints({ type: 'image', region: 'RegionTwo', url: NOWHERE });
    const credentialSecret = newSecret();
    const credentialId = await operator.createApplicationCredential(own, credentialSecret);

    const files = join(directory, 'openstack');
    await mkdir(files, { mode: 0o700 });
    const environment = {
      PATH: process.env['PATH'],
      OS_CLIENT_CONFIG_FILE: join(files, 'clouds.yaml'),
      OS_CLIENT_SECURE_FILE: join(files, 'secure.yaml'),
    };
    const auth = { auth_url: url, username: own.user, project_name: own.project, user_domain_id: 'default' };
    const region = { region_name: 'RegionOne' };
    const credential = { application_credential_id: credentialId, application_credential_secret: credentialSecret };
    const clouds = {
      ivc: { ...region, auth },
      'ivc-anywhere': { auth },
      auditor: { ...region, auth: { ...auth, username: auditor.user, password: auditor.password } },
      'ivc-wrong': { ...region, auth: { ...auth, password: 'wrong' } },
      'ivc-credential': {
        ...region,
        auth_type: 'v3applicationcredential',
        auth: { auth_url: url, ...credential },
      },
    };
    const writeSecure = async (password: string): Promise<void> => {
      const secure = { clouds: { ivc: { auth: { password } }, 'ivc-anywhere': { auth: { password } } } };
      await writeFile(environment.OS_CLIENT_SECURE_FILE, stringify(secure), { mode: 0o600 });
    };
    await writeFile(environment.OS_CLIENT_CONFIG_FILE, stringify({ clouds }), { mode: 0o600 });
    await writeSecure(own.password);
    return {
      keystone,
      glance,
      directory,
      account: { ...ids, password: own.password, credentialSecret },
      environment,
      async addProject(name, roles) {
        const password = newSecret();
        const { projectId } = await operator.ensureAccount({ user: name, password, project: name, roles });
        const identity = { authUrl: url, username: name, projectName: name, region: 'RegionOne' };
        return { projectId: projectId as ProjectId, identity, password };
      },
      async changePassword(password, { inFile }) {
        await operator.changePassword(ids.userId, password);
        if (inFile) await writeSecure(password);
      },
      stop: () => undos.run(),
    };
  });
}

export function newSecret(): string {
  return `pw-${randomBytes(16).toString('hex')}`;
}
