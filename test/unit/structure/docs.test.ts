import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { findingRules } from '../../../activities/reconcile/findings';
import { failures } from '../../../workflows/contract/failures';
import { refusals } from '../../support/refusals';

const document = readFileSync(resolve(__dirname, '../../../docs/operating.md'), 'utf8');

describe('the failure table of the documentation', () => {
  it('is the failure table of the code', () => {
    const documented = [...document.matchAll(/^\| `(\w+)` \| (yes|no) \| (refuse|undo) \| (\d) \|/gm)].map(
      ([, type, retry, undo, exitCode]) => [type, { retry: retry === 'yes', undo, exitCode: Number(exitCode) }],
    );
    const actual = Object.entries(failures).map(([type, { retry, exitCode }]) => [
      type,
      { retry, undo: refusals.some((refusal) => refusal === type) ? 'refuse' : 'undo', exitCode },
    ]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });
});

describe('the table of findings of the documentation', () => {
  it('is the table of findings of the code', () => {
    const documented = [...document.matchAll(/^\| `([a-z-]+)` \| (.+) \| (yes|no) \| (.+) \|$/gm)].map(
      ([, kind, found, grace, done]) => [kind, { found, grace: grace === 'yes', done }],
    );
    const actual = Object.entries(findingRules).map(([kind, { found, grace, done }]) => [kind, { found, grace, done }]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
  });
});
