import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { pauseEviction, pin, resumeEviction, setLimits } from '../../client';
import { createProgram } from '../../client/cli/program';
import { makeSampleImage, type SampleImage } from '../support/images/sample-image';
import { runIvc } from '../support/stack/ivc';
import { useStack } from '../support/stack/flows';

/** Sets a clipboard, rings, fakes a row, clears the screen by a C1 sequence, and reverses what follows: at most 64 characters, the limit of a project. */
const HOSTILE = 'a\u001b]52;c;ZQ==\u0007\r\nb  available\u009b2J\u007f\u202e\u2066\u2028c\t';
const SHOWN = 'a\\u001b]52;c;ZQ==\\u0007\\r\\nb  available\\u009b2J\\u007f\\u202e\\u2066\\u2028c\\t';
/** All but the line breaks that are ours. */
const RAW = /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
/** A row of its own that a name has faked. */
const FAKED = /^b {2}available/m;

const flow = useStack();
let sample: SampleImage;
/** Command lines that were run, by the path of their command. */
const ran = new Set<string>();

beforeAll(async () => {
  sample = await makeSampleImage({ directory: flow.directory, name: 'sample' });
});

/** Runs a command for people. @returns all that it has said, which holds nothing that a terminal would act on. */
async function say(...args: string[]): Promise<string> {
  remember(args);
  const { stdout, stderr } = await runIvc(args, flow.stack.environment);
  const said = `${stdout}${stderr}`;
  expect({ args, raw: RAW.exec(said)?.[0], faked: FAKED.exec(said)?.[0] }).toEqual({ args });
  return said;
}

/** Runs a command for a program. @returns its document. */
async function read(...args: string[]): Promise<Record<string, unknown>> {
  remember(args);
  const { stdout, stderr } = await runIvc([...args, '--json'], flow.stack.environment);
  expect({ args, raw: RAW.exec(`${stdout}${stderr}`)?.[0] }).toEqual({ args });
  return JSON.parse(stdout) as Record<string, unknown>;
}

function remember(args: string[]): void {
  const path = args.slice(0, 2).filter((arg) => /^[a-z][a-z-]*$/.test(arg));
  ran.add(leaves(createProgram()).find((leaf) => leaf === path.join(' ')) ?? path[0] ?? '');
}

function leaves(command: Command, path: string[] = []): string[] {
  const below = command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
  // `evict` does something by itself, too.
  const own = command.commands.length === 0 || command.name() === 'evict' ? [path.join(' ')] : [];
  return [...own, ...below];
}

describe('names that others have chosen', () => {
  let imageId: string;
  let volumeId: string;
  let entryId: string;

  it('are shown as escapes by every command, and exact for a program', async () => {
    const uploaded = await read('image', 'upload', sample.path, '--name', HOSTILE, '--property', `p=${HOSTILE}`);
    expect(uploaded).toMatchObject({ name: HOSTILE, properties: { p: HOSTILE } });
    imageId = String(uploaded['id']);
    expect(await say('image', 'upload', sample.path, '--name', HOSTILE)).toContain(SHOWN);
    expect(await say('image', 'list')).toContain(SHOWN);
    expect(await say('image', 'show', imageId)).toContain(`p=${SHOWN}`);
    expect(await read('image', 'list', '--name', HOSTILE)).toMatchObject({ images: [{ name: HOSTILE }, {}] });

    const own = ['--name', HOSTILE, '--metadata', `m=${HOSTILE}`, '--project', HOSTILE];
    const created = await read('volume', 'create', '--image', imageId, ...own);
    expect(created).toMatchObject({ outcome: 'miss', name: HOSTILE, projectId: HOSTILE });
    volumeId = String(created['volumeId']);
    expect(await say('volume', 'create', '--image', imageId, ...own)).toContain(SHOWN);
    expect(await say('volume', 'list', '--all-projects')).toContain(SHOWN);
    const shown = await say('volume', 'show', volumeId, '--project', HOSTILE);
    expect(shown).toContain(`m=${SHOWN}`);
    expect(shown).toContain(`p=${SHOWN}`);
    expect(await read('volume', 'show', volumeId, '--all-projects')).toMatchObject({
      name: HOSTILE,
      projectId: HOSTILE,
      metadata: { m: HOSTILE },
      imageMetadata: { p: HOSTILE },
    });
    expect(await read('volume', 'list', '--project', HOSTILE)).toMatchObject({ volumes: [{ name: HOSTILE }, {}] });
  });

  it('are so in what operators see', async () => {
    const { entries } = (await read('cache', 'list')) as { entries: { entryId: string }[] };
    entryId = entries[0]?.entryId ?? '';
    const where = { backend: flow.stack.backend };
    await pin(flow.stack.cache, { entryId, by: HOSTILE }, where);
    await setLimits(flow.stack.cache, { limits: { maxCount: 9 }, by: HOSTILE }, where);
    await pauseEviction(flow.stack.cache, { reason: HOSTILE }, where);
    await resumeEviction(flow.stack.cache, { reason: HOSTILE }, where);
    expect(await say('cache', 'list', '-o', 'wide')).toContain(SHOWN);
    expect(await say('cache', 'show', entryId)).toContain(SHOWN);
    expect(await read('cache', 'show', entryId)).toMatchObject({ pinnedBy: HOSTILE });
    expect(await say('cache', 'limits')).toContain(SHOWN);
    expect(await say('evict', 'status')).toContain(SHOWN);
    await say('evict', 'pause', '--reason', HOSTILE);
    await say('evict', 'resume', '--reason', HOSTILE);
    await say('evict', '--dry-run', '--reason', HOSTILE);
    await say('cache', 'unpin', entryId);
    await say('cache', 'pin', entryId);
    await say('cache', 'warm', '--image', imageId);
    await say('cache', 'refusals');
    await say('status');
    await say('reconcile', '--dry-run');
    await say('doctor');

    const follow = ['--name', HOSTILE, '--as', 'followed', '--tag', HOSTILE, '--property', `f=${HOSTILE}`];
    await say('cache', 'follow', ...follow);
    expect(await say('cache', 'follows')).toContain(`${SHOWN}, ${SHOWN}, f=${SHOWN}`);
    expect(await read('cache', 'follows')).toMatchObject({ follows: [{ imageName: HOSTILE, tags: [HOSTILE] }] });
    await say('refresh');
    await say('cache', 'unfollow', 'followed');
  });

  it('are so in what is made of volumes, and in what is told of it', async () => {
    const own = ['--project', HOSTILE];
    expect(await say('volume', 'set', volumeId, '--name', HOSTILE, '--property', `k=${HOSTILE}`, ...own)).toContain(
      SHOWN,
    );
    await say('volume', 'unset', volumeId, '--property', HOSTILE, ...own);
    await say('volume', 'extend', volumeId, '--size', '1GiB', ...own);
    await say('volume', 'reimage', volumeId, '--image', imageId, ...own);
    const taken = await read('snapshot', 'create', volumeId, '--name', HOSTILE, '--description', HOSTILE, ...own);
    expect(taken).toMatchObject({ name: HOSTILE });
    const snapshotId = String(taken['snapshotId']);
    expect(await say('snapshot', 'list', ...own)).toContain(SHOWN);
    expect(await say('snapshot', 'show', snapshotId, ...own)).toContain(SHOWN);
    expect(await say('volume', 'delete', volumeId, ...own)).toContain(snapshotId);
    expect(await say('snapshot', 'share', snapshotId, '--name', HOSTILE, '--member', HOSTILE, ...own)).toContain(SHOWN);
    expect(await say('snapshot', 'unshare', snapshotId, '--member', HOSTILE, ...own)).toContain(snapshotId);
    expect(await say('snapshot', 'unshare', snapshotId, ...own)).toContain('deleted');
    await say('snapshot', 'delete', snapshotId, ...own);
    expect(await say('volume', 'upload', volumeId, '--name', HOSTILE, '--property', `u=${HOSTILE}`, ...own)).toContain(
      SHOWN,
    );
    await say('cache', 'seed', '--image', imageId, '--volume', volumeId);
    await say('volume', 'types', ...own);
    await say('quota', 'set', '--volumes', '9', ...own);
    expect(await say('quota', 'show', ...own)).toContain(SHOWN);
    expect(await say('quota', 'list')).toContain(SHOWN);
    expect(await say('events', '--volume', volumeId)).toContain(SHOWN);
  });

  it('are so in the report, on a terminal and as a page', async () => {
    // A refusal's reason quotes what was asked for.
    await flow.stack.database.sql`update decisions set outcome = 'refused', reason = ${HOSTILE}`;
    expect(await say('report')).toContain(SHOWN);
    expect(await read('report')).toMatchObject({ reasons: [{ reason: HOSTILE }] });
    const path = join(flow.directory, 'report.html');
    await say('report', '--html', path);
    const page = await readFile(path, 'utf8');
    expect(page).toContain(SHOWN);
    expect(RAW.exec(page)?.[0]).toBeUndefined();
  });

  it('are so in errors', async () => {
    expect(await say('cache', 'follow', '--name', HOSTILE)).toContain(SHOWN.slice(0, 8));
    expect(await say('cache', 'unfollow', HOSTILE)).toContain('name');
    expect(await say('volume', 'show', HOSTILE)).toContain(SHOWN);
    await say('cache', 'forget-refusal', HOSTILE);
    const config = join(flow.directory, HOSTILE);
    for (const command of ['up', 'down', 'worker', 'api'])
      expect(await say(command, '--config', config)).toContain(SHOWN);
    await mkdir(config);
    expect(await say('image', 'upload', config)).toContain(SHOWN);
  });

  it('are so when they go', async () => {
    expect(await say('volume', 'delete', volumeId, '--project', HOSTILE)).toContain(volumeId);
    expect(await say('image', 'delete', HOSTILE)).toContain(SHOWN);
    await say('completion', 'bash');
    await say('help', HOSTILE);
    await say('cache', 'evict', entryId, '--reason', HOSTILE, '--flatten');
    await say('cache', 'show', entryId);
  });

  it('are so in the log of a worker', async () => {
    const logs = await Promise.all(flow.stack.workers.map(({ logPath }) => readFile(logPath, 'utf8')));
    expect(RAW.exec(logs.join(''))?.[0]).toBeUndefined();
  });

  it('were given to every command that there is', () => {
    expect(leaves(createProgram()).filter((leaf) => !ran.has(leaf))).toEqual([]);
  });
});
