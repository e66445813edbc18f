import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { hasGrace } from '../../../activities/reconcile/findings';
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
  const documented = [...document.matchAll(/^\| `([a-z-]+)` \| (.+) \| (yes|no) \| (.+) \|$/gm)];

  it('has every kind of the code, and which of them have a grace', () => {
    const graces = documented.map(([, kind, , grace]) => [kind, grace === 'yes']);
    expect(Object.fromEntries(graces)).toEqual(hasGrace);
  });

  it('has volumes without a row kept, and foreign objects left alone', () => {
    const done = Object.fromEntries(documented.map(([, kind, , , what]) => [kind, what]));
    expect(done).toMatchObject({
      'volume-without-row': expect.stringMatching(/^never deleted/),
      foreign: 'never touched',
    });
  });
});
