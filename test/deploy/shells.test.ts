import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fishCompletion, zshCompletion } from '../../client/cli/completion-scripts';
import { createProgram } from '../../client/cli/program';
import { ensureTools } from '../support/machine/debian-packages';
import { startOnTerminal } from '../support/machine/terminal';

const run = promisify(execFile);
let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-shells-'));
  await ensureTools({ zsh: 'zsh', fish: 'fish', script: 'bsdutils' });
}, 300_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Beginnings of a line, and what is offered for its last word. */
const offers: [string, string[]][] = [
  ['ivc vol', ['volume']],
  ['ivc volume e', ['extend']],
  ['ivc volume list -o ', ['json', 'name', 'table', 'value', 'wide', 'yaml']],
  ['ivc volume create --si', ['--size', '--size-bytes']],
  ['ivc volume delete some-volume --ign', ['--ignore-missing']],
];

it.each(offers)('fish completes `%s`', async (line, expected) => {
  const path = join(directory, 'ivc.fish');
  writeFileSync(path, fishCompletion(createProgram()));
  const env = { PATH: process.env['PATH'], HOME: directory };
  const { stdout, stderr } = await run('fish', ['-c', `source ${path}; complete -C '${line}'`], { env });
  expect(stderr).toBe('');
  expect(stdout.split('\n').flatMap((offer) => offer.split('\t')[0] || [])).toEqual(expected);
});

it('zsh completes them at the key of tabulation', async () => {
  const path = join(directory, 'ivc.zsh');
  writeFileSync(path, zshCompletion(createProgram()));
  const zsh = startOnTerminal(['zsh', '-f', '-i'], {
    HOME: directory,
    ZDOTDIR: directory,
    TERM: 'dumb',
    PS1: 'ready> ',
  });
  await zsh.shows('ready> ');
  zsh.type(`source ${path}; bindkey '^I' complete-word; echo loa''ded\n`);
  await zsh.shows('loaded');
  for (const [line, [first = '']] of offers) {
    // In place of what stands there.
    zsh.type(`\u0015${line}\t`);
    await zsh.shows(first);
  }
  zsh.type('\u0015exit\n');
  expect(await zsh.ended).toMatchObject({ exitCode: 0 });
});
