import { randomUUID } from 'node:crypto';
import type { RouteOptions } from 'fastify';
import { createServer } from '../../../api/http-server';
import type { OpenApi } from '../../../api/open-api';
import { answers as described } from '../../../api/schemas/answers';
import { configSchema } from '../../../client/config/schema';
import { createLogger } from '../../../client/logger';
import { GiB } from '../../../workflows/contract/bytes';
import type { ProjectId } from '../../../workflows/contract/ids';
import {
  METADATA_KEY,
  routeCells,
  type ResourceIds,
  type ResourceKind,
  type RouteCell,
} from '../../support/stack/api-rights';
import { useStack } from '../../support/stack/flows';

const MINE = 'mine' as ProjectId;
const THEIRS = 'theirs' as ProjectId;
const PREFIX = '/v3/:project_id';
const MAKING_TIMEOUT_MS = 300_000;
/** Cells that change something run so many at once. */
const AT_ONCE = 6;

const allowed = {
  readers: ['reader', 'member', 'service', 'admin'],
  writers: ['member', 'service', 'admin'],
  administrators: ['admin'],
} as const satisfies Record<RouteCell['by'], string[]>;
/** The first one reads nothing. */
const roles = ['auditor', 'reader', 'member', 'service', 'admin'] as const;
type Role = (typeof roles)[number];
const may = (role: Role, { by }: RouteCell): boolean => (allowed[by] as readonly string[]).includes(role);

const flow = useStack();
let app: ReturnType<typeof createServer>;
let base: string;
const registered: string[] = [];

beforeAll(async () => {
  app = createServer(
    { cache: flow.stack.cache, availabilityZone: 'nova', publicUrl: undefined },
    {
      logger: createLogger('error'),
      limits: configSchema.parse({}).api.limits,
      authenticate: async ({ headers }) => ({
        projectId: String(headers['x-project']) as ProjectId,
        userId: 'somebody',
        roles: String(headers['x-roles']).split(','),
        byService: false,
      }),
    },
  );
  app.addHook('onRoute', ({ method, url }: RouteOptions) => {
    for (const one of [method].flat())
      if (one !== 'HEAD' && url.startsWith(`${PREFIX}/`)) registered.push(`${one} ${url.slice(PREFIX.length)}`);
  });
  base = await app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => app.close());

it('every route that is served is in the description of the API', async () => {
  const { paths } = (await (await fetch(`${base}/v3/openapi.json`)).json()) as OpenApi;
  const missing = registered.filter((route) => {
    const [method = '', path = ''] = route.split(' ');
    return paths[`${PREFIX}${path}`.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()] === undefined;
  });
  expect(registered.length).toBeGreaterThan(80);
  expect(missing).toEqual([]);
});

interface Answer {
  status: number;
  text: string;
}

/** @param request such as `GET /volumes`. */
async function ask(
  request: string,
  { body, role = 'member', project = MINE }: { body?: object; role?: Role; project?: ProjectId } = {},
): Promise<Answer> {
  const [method = '', path = ''] = request.split(' ');
  const answer = await fetch(`${base}/v3/${project}${path}`, {
    method,
    headers: {
      'x-roles': role,
      'x-project': project,
      'openstack-api-version': 'volume 3.70',
      'content-type': 'application/json',
    },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, text: await answer.text() };
}

/** Asks for what must succeed. @returns what the body has under its one key. */
async function get(request: string, options: Parameters<typeof ask>[1] = {}): Promise<{ id: string; status: string }> {
  const { status, text } = await ask(request, options);
  if (status >= 300) throw new Error(`${request}: ${status} ${text}`);
  return Object.values(JSON.parse(text) as Record<string, { id: string; status: string }>)[0] ?? { id: '', status: '' };
}

/** A call of a cell. @param ids of what it names. */
async function call(route: string, cell: RouteCell, { ids, role }: { ids: ResourceIds; role: Role }): Promise<Answer> {
  const named: Record<string, string> = {
    volume_id: ids.volume,
    snapshot_id: ids.snapshot,
    attachment_id: ids.attachment,
    transfer_id: ids.transfer,
    type_id: ids.type,
    message_id: ids.message,
    target: ids.project,
    key: METADATA_KEY,
  };
  const path = route.replace(/:(\w+)/g, (_, name: string) => named[name] ?? 'none');
  const query = cell.query === undefined ? '' : `?${cell.query}`;
  const { status, text } = await ask(`${path}${query}`, { role, body: cell.body?.(ids) });
  if (status < 300) expectDescribed(route, text);
  return { status, text: cell.of === undefined ? text : text.replaceAll(ids[cell.of], 'ID') };
}

/** An answer is as the description of the API says. */
function expectDescribed(route: string, text: string): void {
  const schema = described[route];
  if (schema === undefined) return;
  const { error } = schema.safeParse(JSON.parse(text));
  expect({ route, problems: error?.issues ?? [] }).toEqual({ route, problems: [] });
}

/** Makers of a resource of each kind in a project. Each resource has a volume of its own, which is free for all that is done with it. */
const makers: Record<ResourceKind, (project: ProjectId) => Promise<string>> = {
  project: async (project) => await Promise.resolve(project),
  volume: makeVolume,
  message: makeMessage,
  snapshot: async (project) => {
    const body = { snapshot: { volume_id: await makeVolume(project), metadata: { [METADATA_KEY]: 'b' } } };
    const { id } = await get('POST /snapshots', { project, body });
    await untilAvailable(`GET /snapshots/${id}`, project);
    return id;
  },
  attachment: async (project) => {
    const body = { attachment: { volume_uuid: await makeVolume(project) } };
    return (await get('POST /attachments', { project, body })).id;
  },
  transfer: async (project) => {
    const body = { transfer: { volume_id: await makeVolume(project), name: `of-${project}` } };
    return (await get('POST /volume-transfers', { project, body })).id;
  },
  type: async (project) => {
    const role = 'admin';
    const body = {
      volume_type: {
        name: `of-${project}-${randomUUID()}`,
        extra_specs: { [METADATA_KEY]: 'b' },
        'os-volume-type-access:is_public': false,
      },
    };
    const { id } = await get('POST /types', { role, body });
    await ask(`POST /types/${id}/action`, { role, body: { addProjectAccess: { project } } });
    return id;
  },
};

/** Of a volume whose type no backend fits. */
async function makeMessage(project: ProjectId): Promise<string> {
  const type = { name: `of-nobody-${randomUUID()}`, extra_specs: { vendor_name: 'nobody' } };
  const { id: volumeType } = await get('POST /types', { role: 'admin', body: { volume_type: type } });
  const body = { volume: { size: 1, volume_type: volumeType } };
  const { id } = await get('POST /volumes', { project, body });
  return await flow.until('the message', async () => {
    const { text } = await ask(`GET /messages?resource_uuid=${id}`, { project });
    const { messages } = JSON.parse(text) as { messages: { id: string }[] };
    return messages[0]?.id;
  });
}

async function makeVolume(project: ProjectId): Promise<string> {
  const body = { volume: { size: 1, name: `of-${project}`, metadata: { [METADATA_KEY]: 'b' } } };
  const { id } = await get('POST /volumes', { project, body });
  await untilAvailable(`GET /volumes/${id}`, project);
  const { sql } = flow.stack.database;
  await sql`update volumes set image_metadata = jsonb_build_object(${METADATA_KEY}::text, 'b') where id = ${id}`;
  return id;
}

async function untilAvailable(request: string, project: ProjectId): Promise<void> {
  await flow.until(`${request} to be available`, async () => (await get(request, { project })).status === 'available');
}

async function makeAll(project: ProjectId): Promise<ResourceIds> {
  const entries = Object.entries(makers).map(async ([kind, make]) => [kind, await make(project)] as const);
  return Object.fromEntries(await Promise.all(entries)) as ResourceIds;
}

/** All that the inventory has, but for what workers tell of their backends by the clock, and for what was decided of refused creates. */
async function readInventory(): Promise<unknown> {
  const { sql } = flow.stack.database;
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_name <> 'decisions' and table_name not like 'backend%'
    order by 1`;
  const rows = tables.map(async ({ name }) => {
    const found = await sql<{ row: string }[]>`select to_jsonb(t)::text as row from ${sql(name)} t order by 1`;
    return [name, found.map(({ row }) => row)];
  });
  return Object.fromEntries((await Promise.all(rows)) as [string, string[]][]);
}

const everyCell = () =>
  Object.entries(routeCells).flatMap(([route, cells]) =>
    cells.map((cell) => ({ route, cell, name: nameOf(route, cell) })),
  );

/** Says which cell of a route it is. */
function nameOf(route: string, { of, body, query }: RouteCell): string {
  const names = { volume: 'V', snapshot: 'S', attachment: 'A', transfer: 'O', type: 'T', message: 'M', project: 'P' };
  return [route, of, query, body && JSON.stringify(body(names))].filter((part) => part !== undefined).join(' ');
}

describe('every route', () => {
  let mine: ResourceIds;
  let theirs: ResourceIds;
  let absent: ResourceIds;
  beforeAll(async () => {
    [mine, theirs] = await Promise.all([makeAll(MINE), makeAll(THEIRS)]);
    const ids = Object.keys(makers).map((kind) => [kind, randomUUID()]);
    absent = Object.fromEntries(ids) as ResourceIds;
  }, MAKING_TIMEOUT_MS);

  /** @returns the ids of my own, but for the one that the cell names. */
  const namedIn = ({ of }: RouteCell, ids: ResourceIds): ResourceIds =>
    of === undefined ? mine : { ...mine, [of]: ids[of] };

  /** To each role what it is refused: all that is to be answered in the same way. */
  const refusalsOf = (cell: RouteCell) => {
    const ofNobody = cell.of === undefined ? [] : [absent, theirs];
    const refused = roles
      .filter((role) => !may(role, cell))
      .map((role) => ({
        role,
        refused: [mine, ...ofNobody],
        status: 403,
        told: /Policy doesn't allow [a-z]\S+ to be/,
      }));
    const missed = roles
      .filter((role) => may(role, cell) && role !== 'admin' && cell.of !== undefined)
      .map((role) => ({ role, refused: ofNobody, status: cell.absent, told: /message/ }));
    return [...refused, ...missed];
  };

  it('has its cells', () => {
    expect(registered.toSorted()).toEqual(Object.keys(routeCells).toSorted());
    expect(Object.keys(described).filter((route) => !registered.includes(route))).toEqual([]);
  });

  it(
    "refuses roles that it is not for, and another project's resource as one that is not there, and nothing is changed",
    async () => {
      for (const { route, cell, name } of everyCell()) {
        const before = await readInventory();
        for (const { role, refused, status, told } of refusalsOf(cell)) {
          const answers: Answer[] = [];
          for (const ids of refused) answers.push(await call(route, cell, { ids: namedIn(cell, ids), role }));
          const [first] = answers;
          expect({ name, role, answers }).toEqual({ name, role, answers: answers.map(() => first) });
          expect({ name, role, status: first?.status }).toEqual({ name, role, status });
          expect(first?.text).toMatch(told);
        }
        expect({ name, inventory: await readInventory() }).toEqual({ name, inventory: before });
      }
    },
    MAKING_TIMEOUT_MS,
  );

  it(
    'does for each role that it is for what it is for',
    async () => {
      const questions = everyCell().flatMap(({ route, cell, name }) => {
        const callers = roles
          .filter((role) => may(role, cell))
          .map((role) => ({ role, project: MINE, expected: role === 'admin' ? cell.ownToAdministrator : cell.own }));
        const ofOthers = { role: 'admin', project: THEIRS, expected: cell.foreignToAdministrator } as const;
        return [...callers, ...(cell.of === undefined ? [] : [ofOthers])].map((caller) => ({
          ...caller,
          route,
          cell,
          name: `${name} as ${caller.role} of ${caller.project}`,
        }));
      });
      const found = new Map<string, number | string>();
      const waiting = [...questions];
      const askInTurn = async (): Promise<void> => {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
          const { route, cell, role, project, name, expected } = next;
          const ids = await freshIds(route, cell, project);
          const { status, text } = await call(route, cell, { ids, role });
          found.set(name, status === expected ? status : `${status} ${text.slice(0, 200)}`);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, askInTurn));
      const expected = questions.map(({ name, expected: status }) => [name, status]);
      expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
    },
    MAKING_TIMEOUT_MS,
  );

  /** A call that changes something has resources of its own. */
  async function freshIds(route: string, cell: RouteCell, project: ProjectId): Promise<ResourceIds> {
    if (route.startsWith('GET ')) return namedIn(cell, project === MINE ? mine : theirs);
    const volume = route.includes(':volume_id') && cell.of !== 'volume' ? await makeVolume(MINE) : mine.volume;
    return { ...mine, volume, ...(cell.of && { [cell.of]: await makers[cell.of](project) }) };
  }

  it("lists and counts nothing of another project's, whatever a query asks for", async () => {
    const lists = registered.filter((route) => /^GET \/[^:]+$/.test(route));
    const foreign = Object.values(theirs).filter((id) => id !== THEIRS);
    const queries = [
      'all_tenants=1',
      `project_id=${THEIRS}`,
      `tenant_id=${THEIRS}`,
      `all_tenants=1&project_id=${THEIRS}`,
      `volume_id=${theirs.volume}`,
      `name=of-${THEIRS}`,
      `all_tenants=1&volume_id=${theirs.volume}`,
      'is_public=None',
    ];
    for (const route of lists) {
      for (const query of queries) {
        const { status, text } = await ask(`${route}?${query}`, { role: 'reader' });
        const told = foreign.filter((id) => text.includes(id));
        expect({ route, query, told, failed: status >= 500 }).toEqual({ route, query, told: [], failed: false });
      }
      for (const [kind, id] of Object.entries(theirs).filter(([, each]) => each !== THEIRS)) {
        const after = async (marker: string) => await ask(`${route}?marker=${marker}`, { role: 'reader' });
        const [ofForeign, ofNone] = [await after(id), await after(absent[kind as ResourceKind])];
        const withoutIds = ({ status, text }: Answer) =>
          [id, absent[kind as ResourceKind]].reduce((rest, one) => rest.replaceAll(one, 'ID'), `${status} ${text}`);
        // A message's id is its place in the order: a marker is looked up nowhere, and what follows it is one's own.
        const told = ({ text }: Answer) => foreign.filter((each) => each !== id && text.includes(each)).join();
        const answerOf = kind === 'message' ? told : withoutIds;
        expect({ route, kind, answer: answerOf(ofForeign) }).toEqual({ route, kind, answer: answerOf(ofNone) });
      }
    }
  });

  it('counts the same for a project, whatever a query asks for', async () => {
    for (const route of ['GET /volumes/summary', 'GET /limits', 'GET /volumes'])
      for (const query of ['all_tenants=1', `project_id=${THEIRS}`, `all_tenants=1&project_id=${THEIRS}`]) {
        const { status, text } = await ask(`${route}?${query}`, { role: 'reader' });
        expect({ query, status, text }).toEqual({ query, ...(await ask(route, { role: 'reader' })) });
      }
  });

  it("lists every project's to an administrator who asks for it", async () => {
    for (const [path, id] of [
      ['volumes', theirs.volume],
      ['snapshots', theirs.snapshot],
      ['attachments', theirs.attachment],
      ['volume-transfers', theirs.transfer],
    ] as const) {
      const list = async (query: string) => (await ask(`GET /${path}${query}`, { role: 'admin' })).text;
      expect({ path, has: (await list('')).includes(id) }).toEqual({ path, has: false });
      expect({ path, has: (await list('?all_tenants=1')).includes(id) }).toEqual({ path, has: true });
    }
  });

  it("makes an administrator's volume of another project's source for the administrator's project", async () => {
    for (const source of [{ source_volid: theirs.volume }, { snapshot_id: theirs.snapshot }]) {
      const { id } = await get('POST /volumes', { role: 'admin', body: { volume: source } });
      await untilAvailable(`GET /volumes/${id}`, MINE);
      expect(await flow.volume(id)).toMatchObject({ projectId: MINE, sizeBytes: GiB });
    }
  });
});
