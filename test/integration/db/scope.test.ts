import { connectDatabase, type Database } from '../../../db/client';
import type { ProjectScope } from '../../../db/scope';
import { findVolume } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import type { ProjectId, VolumeId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import { admitted, cacheKey, newVolumeId, PROJECT, registerLocal } from '../../support/database/rows';
import { scopedQueries, scopedVerbs } from '../../support/database/scoped-queries';

const { database, url } = useInventory((inventory) => registerLocal(inventory));

const key = cacheKey('scopes');
const own: ProjectScope = { projectId: PROJECT };
const stranger: ProjectScope = { projectId: 'stranger' as ProjectId };
/** Those that change what they find come last. */
const queries = { ...scopedVerbs, ...scopedQueries };
let statements: string[];
let recorded: Database;
let volumeId: VolumeId;
let older: VolumeId;

beforeAll(() => {
  recorded = connectDatabase(url, {
    maxConnections: 1,
    applicationName: 'test',
    onStatement: (text) => statements.push(text),
  });
});
afterAll(() => recorded.close());

beforeEach(async () => {
  // A page that went on from another project's volume would begin with it.
  older = (await admitted(database, key, { projectId: stranger.projectId })).id;
  await admitted(database, key);
  volumeId = (await admitted(database, key)).id;
  // Two in the list, so that the one after the other is found.
  for (const id of [newVolumeId(), volumeId])
    await database.sql`insert into snapshots (id, project_id, volume_id, backend, metadata, size_bytes, state, workflow_id, run_id)
      select ${id}, project_id, id, backend, '{}', 512, 'available', 'w', 'r' from volumes where id = ${volumeId}`;
  for (const id of [newVolumeId(), volumeId])
    await database.sql`insert into attachments (id, volume_id, project_id, status) values (${id}, ${volumeId}, ${PROJECT}, 'reserved')`;
  statements = [];
});

/** @returns what is found of a volume, and with which statements. */
async function ask(name: string, asked: { scope: ProjectScope; volumeId: VolumeId }) {
  statements = [];
  const found = await queries[name]?.(recorded, asked);
  return { found, statements };
}

describe.each(Object.keys(queries))('%s', (name) => {
  it("finds of another project's volume what it finds of one that never was, by the same statements", async () => {
    const foreign = await ask(name, { scope: stranger, volumeId });
    expect(foreign.statements.length).toBeGreaterThan(0);
    expect(foreign).toEqual(await ask(name, { scope: stranger, volumeId: newVolumeId() }));
    expect(await findVolume(database, { volumeId, scope: own })).toMatchObject({ state: 'creating' });
  });

  it('finds it for its project, and for an operator', async () => {
    const never = await ask(name, { scope: own, volumeId: newVolumeId() });
    const found = await ask(name, { scope: own, volumeId });
    expect(found.found).not.toEqual(never.found);
    expect((await ask(name, { scope: 'all projects', volumeId })).found).not.toEqual(never.found);
  });
});

test('a list has what its scope has', async () => {
  const idsIn = async (scope: ProjectScope) =>
    (await selectVolumes(database, { scope, limit: 10 })).map(({ id }) => id);
  expect(await idsIn(own)).toHaveLength(2);
  expect(await idsIn(stranger)).toEqual([older]);
  expect(await idsIn('all projects')).toHaveLength(3);
  expect(await idsIn({ projectId: '' as ProjectId })).toEqual([]);
});
