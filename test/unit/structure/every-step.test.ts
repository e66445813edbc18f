import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { workflowTypes } from '../../../workflows/contract/names';
import * as workflows from '../../../workflows/index';

const folder = resolve(__dirname, '../../workflow');

/** The names in what `describeEveryStep` is given; the harness sees to it that the runs it strikes are of that workflow. */
function struckIn(text: string): string[] {
  const [, given = ''] = text.split('describeEveryStep({');
  return [...given.matchAll(/\b([A-Z]\w+): \[/g)].map(([, name = '']) => name);
}

describe('the every-step harness', () => {
  it('strikes each workflow that there is', () => {
    const struck = readdirSync(folder).flatMap((name) => struckIn(readFileSync(join(folder, name), 'utf8')));
    expect([...new Set(struck)].sort()).toEqual(Object.keys(workflows).sort());
    expect(Object.values<string>(workflowTypes).sort()).toEqual(Object.keys(workflows).sort());
  });
});
