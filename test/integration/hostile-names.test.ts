import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Command } from 'commander';
import { pauseEviction, pin, resumeEviction, setLimits } from '../../client';
import { widthOf } from '../../client/cli/output/width';
import { createProgram } from '../../client/cli/program';
import { packageRoot } from '../../client/config/package-root';
import { makeSampleImage, type SampleImage } from '../support/images/sample-image';
import { startOnTerminal } from '../support/machine/terminal';
import { runIvc } from '../support/stack/ivc';
import { useStack } from '../support/stack/flows';

/** Sets a clipboard, rings, fakes a row, clears the screen by a C1 sequence, and reverses what follows: at most 64 characters, the limit of a project. */
const HOSTILE = 'a\u001b]52;c;ZQ==\u0007\r\nb  available\u009b2J\u007f\u202e\u2066\u2028c\t';
const SHOWN = 'a\\u001b]52;c;ZQ==\\u0007\\r\\nb  available\\u009b2J\\u007f\\u202e\\u2066\\u2028c\\t';
/** All but the line breaks that are ours. */
const RAW = /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
/** A row of its own that a name has faked. */
const FAKED = /^b {2}available/m;
const COLUMNS = 80;

const flow = useStack();
let sample: SampleImage;
/** Command lines that were run, by the path of their command. */
const ran = new Set<string>();
/** Those that were run on a terminal. */
const seen = new Set<string>();
/** Commands without a face of their own on a terminal: a script, a help, nothing before they are ready, or findings as of `import revert`. */
const faceless = ['up', 'down', 'worker', 'api', 'completion', 'help', 'import cinder'];

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

/** Runs a command on a terminal of 80 columns. @returns what it has printed there, of which no line is wider. */
async function see(...args: string[]): Promise<string> {
  seen.add(remember(args));
  // Notes on standard error are sentences, which a terminal wraps by itself.
  const printing = ['sh', '-c', 'exec "$@" 2>/dev/null', 'sh'];
  const main = join(packageRoot(), 'dist/client/cli/main.js');
  const command = [...printing, process.execPath, main, ...args];
  const screen = stripVTControlCharacters((await startOnTerminal(command, flow.stack.environment).ended).screen);
  const lines = screen.split('\r\n');
  // An indented line is a command, or a part of a document, to copy.
  const wide = lines.filter((line) => widthOf(line) > COLUMNS && !/^ {2}\S/.test(line));
  expect({ args, wide, raw: RAW.exec(lines.join('\n'))?.[0], faked: FAKED.exec(screen)?.[0] }).toEqual({
    args,
    wide: [],
  });
  return screen;
}

/** Runs a command for a program. @returns its document. */
async function read(...args: string[]): Promise<Record<string, unknown>> {
  remember(args);
  const { stdout, stderr } = await runIvc([...args, '--json'], flow.stack.environment);
  expect({ args, raw: RAW.exec(`${stdout}${stderr}`)?.[0] }).toEqual({ args });
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** @returns the path of the command. */
function remember(args: string[]): string {
  const path = args.slice(0, 2).filter((arg) => /^[a-z][a-z-]*$/.test(arg));
  const command = leaves(createProgram()).find((leaf) => leaf === path.join(' ')) ?? path[0] ?? '';
  ran.add(command);
  return command;
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
    await see('image', 'upload', sample.path, '--name', HOSTILE);
    for (const verb of [['list'], ['show', imageId]]) await see('image', ...verb);
    expect(await read('image', 'list', '--name', HOSTILE)).toMatchObject({ images: [{ name: HOSTILE }, {}, {}] });

    const own = ['--name', HOSTILE, '--metadata', `m=${HOSTILE}`, '--project', HOSTILE];
    const created = await read('volume', 'create', '--image', imageId, ...own);
    expect(created).toMatchObject({ outcome: 'miss', name: HOSTILE, projectId: HOSTILE });
    volumeId = String(created['volumeId']);
    expect(await say('volume', 'create', '--image', imageId, ...own)).toContain(SHOWN);
    expect(await say('volume', 'list', '--all-projects')).toContain(SHOWN);
    await see('volume', 'create', '--image', imageId, ...own);
    for (const verb of [
      ['list', '--all'],
      ['show', volumeId, '--all-projects'],
    ])
      await see('volume', ...verb);
    const shown = await say('volume', 'show', volumeId, '--project', HOSTILE);
    expect(shown).toContain(`m=${SHOWN}`);
    expect(shown).toContain(`p=${SHOWN}`);
    expect(await read('volume', 'show', volumeId, '--all-projects')).toMatchObject({
      name: HOSTILE,
      projectId: HOSTILE,
      metadata: { m: HOSTILE },
      imageMetadata: { p: HOSTILE },
    });
    expect(await read('volume', 'list', '--project', HOSTILE)).toMatchObject({ volumes: [{ name: HOSTILE }, {}, {}] });
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
    for (const verb of [
      ['cache', 'list'],
      ['cache', 'show', entryId],
      ['cache', 'limits'],
      ['evict', 'status'],
    ])
      await see(...verb);
    await see('evict', 'pause', '--reason', HOSTILE);
    await see('evict', 'resume', '--reason', HOSTILE);
    await see('evict', '--dry-run', '--reason', HOSTILE);
    await see('cache', 'unpin', entryId);
    await see('cache', 'pin', entryId);
    await see('cache', 'warm', '--image', imageId);
    await see('cache', 'refusals');
    await see('status');
    await see('reconcile', '--dry-run');
    await see('doctor');

    const follow = ['--name', HOSTILE, '--as', 'followed', '--tag', HOSTILE, '--property', `f=${HOSTILE}`];
    await see('cache', 'follow', ...follow);
    await see('cache', 'follows');
    expect(await say('cache', 'follows')).toContain(`${SHOWN}, ${SHOWN}, f=${SHOWN}`);
    expect(await read('cache', 'follows')).toMatchObject({ follows: [{ imageName: HOSTILE, tags: [HOSTILE] }] });
    await see('refresh');
    await see('cache', 'unfollow', 'followed');
  });

  it('are so in what is made of volumes', async () => {
    const own = ['--project', HOSTILE];
    expect(await say('volume', 'set', volumeId, '--name', HOSTILE, '--property', `k=${HOSTILE}`, ...own)).toContain(
      SHOWN,
    );
    await see('volume', 'unset', volumeId, '--property', HOSTILE, ...own);
    await see('volume', 'extend', volumeId, '--size', '1GiB', ...own);
    await see('volume', 'reimage', volumeId, '--image', imageId, ...own);
    await see('volume', 'set', volumeId, '--name', HOSTILE, ...own);
    await see('snapshot', 'create', volumeId, '--name', HOSTILE, '--description', HOSTILE, ...own);
    const taken = await read('snapshot', 'list', ...own);
    expect(taken).toMatchObject({ snapshots: [{ name: HOSTILE }] });
    const [{ snapshotId } = { snapshotId: '' }] = taken['snapshots'] as { snapshotId: string }[];
    expect(await say('snapshot', 'list', ...own)).toContain(SHOWN);
    for (const verb of [['list'], ['show', snapshotId]]) await see('snapshot', ...verb, ...own);
    expect(await say('snapshot', 'show', snapshotId, ...own)).toContain(SHOWN);
    expect(await say('volume', 'delete', volumeId, ...own)).toContain(snapshotId);
    await see('snapshot', 'share', snapshotId, '--name', HOSTILE, '--member', HOSTILE, ...own);
    expect(await say('snapshot', 'share', snapshotId, '--name', HOSTILE, '--member', HOSTILE, ...own)).toContain(SHOWN);
    expect(await say('snapshot', 'unshare', snapshotId, '--member', HOSTILE, ...own)).toContain(snapshotId);
    expect(await say('snapshot', 'unshare', snapshotId, ...own)).toContain('deleted');
    await see('snapshot', 'unshare', snapshotId, ...own);
    await see('snapshot', 'delete', snapshotId, ...own);
    await see('volume', 'upload', volumeId, '--name', HOSTILE, ...own);
    expect(await say('volume', 'upload', volumeId, '--name', HOSTILE, '--property', `u=${HOSTILE}`, ...own)).toContain(
      SHOWN,
    );
  });

  it('are so in what is told of volumes and projects', async () => {
    const own = ['--project', HOSTILE];
    await see('cache', 'seed', '--image', imageId, '--volume', volumeId);
    await see('volume', 'types', ...own);
    await see('quota', 'set', '--volumes', '9', ...own);
    expect(await say('quota', 'show', ...own)).toContain(SHOWN);
    expect(await say('quota', 'list')).toContain(SHOWN);
    expect(await say('events', '--volume', volumeId)).toContain(SHOWN);
    for (const verb of [['quota', 'show', ...own], ['quota', 'list'], ['events']]) await see(...verb);
  });

  it('are so in the report, on a terminal and as a page', async () => {
    // A refusal's reason quotes what was asked for.
    await flow.stack.database.sql`update decisions set outcome = 'refused', reason = ${HOSTILE}`;
    expect(await say('report')).toContain(SHOWN);
    await see('report');
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
    await see('cache', 'forget-refusal', HOSTILE);
    const config = join(flow.directory, HOSTILE);
    for (const command of ['up', 'down', 'worker', 'api'])
      expect(await say(command, '--config', config)).toContain(SHOWN);
    expect(await say('import', 'cinder', '--database', HOSTILE)).toContain('no URL');
    await see('import', 'revert', '--dry-run');
    await mkdir(config);
    expect(await say('image', 'upload', config)).toContain(SHOWN);
  });

  it('are so when they go', async () => {
    expect(await say('volume', 'delete', volumeId, '--project', HOSTILE)).toContain(volumeId);
    await see('volume', 'delete', volumeId, '--project', HOSTILE);
    expect(await say('image', 'delete', HOSTILE)).toContain(SHOWN);
    await see('image', 'delete', imageId);
    await say('completion', 'bash');
    await say('help', HOSTILE);
    await see('cache', 'evict', entryId, '--reason', HOSTILE, '--flatten');
    await see('cache', 'show', entryId);
  });

  it('are so in the log of a worker', async () => {
    const logs = await Promise.all(flow.stack.workers.map(({ logPath }) => readFile(logPath, 'utf8')));
    expect(RAW.exec(logs.join(''))?.[0]).toBeUndefined();
  });

  it('were given to every command that there is', () => {
    expect(leaves(createProgram()).filter((leaf) => !ran.has(leaf))).toEqual([]);
  });

  it('fit a terminal in every command that prints', () => {
    expect(leaves(createProgram()).filter((leaf) => !seen.has(leaf) && !faceless.includes(leaf))).toEqual([]);
  });
});
