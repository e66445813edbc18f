import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { bashCompletion, fishCompletion, zshCompletion } from '../../../../client/cli/completion-scripts';
import { createProgram } from '../../../../client/cli/program';

const run = promisify(execFile);

/** @returns what bash offers for the last of `words`. */
async function offered(...words: string[]): Promise<string[]> {
  const script = `${bashCompletion(createProgram())}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ivc; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['-c', script, 'bash', ...words]);
  return stdout.split('\n').filter((line) => line !== '');
}

describe('the completion of bash', () => {
  it.each([
    [['ivc', 'vol'], ['volume']],
    [['ivc', 'volume', 'e'], ['extend']],
    [
      ['ivc', 'volume', 'create', '--si'],
      ['--size', '--size-bytes'],
    ],
    [
      ['ivc', 'volume', 'list', '-o', ''],
      ['table', 'wide', 'json', 'yaml', 'value', 'name'],
    ],
    [['ivc', 'volume', 'delete', 'some-volume', '--ign'], ['--ignore-missing']],
    [['ivc', 'completion', 'nothing-that-is'], []],
  ])('offers for %j', async (words, expected) => {
    expect(await offered(...words)).toEqual(expected);
  });

  it('is bound to the command', async () => {
    const { stdout } = await run('bash', ['-c', `${bashCompletion(createProgram())}\ncomplete -p ivc`]);
    expect(stdout).toBe('complete -o default -F _ivc ivc\n');
  });
});

it('is that of bash for zsh', () => {
  expect(zshCompletion(createProgram())).toContain(`bashcompinit\n${bashCompletion(createProgram())}`);
});

it('knows for fish where a word stands, and what it is for', () => {
  const script = fishCompletion(createProgram());
  expect(script).toContain(`complete -c ivc -f -n "__ivc_at 'volume'" -a delete -d 'delete volumes; a create`);
  expect(script).toMatch(
    /-n "__ivc_at 'volume list'" -s o -l output -d '.*' -x -a 'table wide json yaml value name'$/m,
  );
});
