import { formatAge, formatConnection, formatShare } from '../../../../../client/cli/output/format';
import { formatProgress } from '../../../../../client/cli/output/progress';
import { formatRecord, formatTable } from '../../../../../client/cli/output/table';
import { MiB } from '../../../../../workflows/contract/bytes';
import type { Connection } from '../../../../../workflows/contract/volume';

const rbd: Connection = {
  driver: 'rbd',
  pool: 'volumes',
  image: 'v',
  format: 'raw',
  user: 'cinder',
  conf: '/etc/ceph/ceph.conf',
  monitors: ['192.0.2.1:6789'],
};

it.each([
  [5, '5 s'],
  [180, '3 min'],
  [7200, '2 h'],
  [9 * 86_400, '9 d'],
])('writes an age of %d s as %s', (seconds, text) => {
  expect(formatAge(new Date(0).toISOString(), seconds * 1000)).toBe(text);
});

it('writes a share as a percentage, finer below a tenth', () => {
  expect([formatShare(1), formatShare(0.853), formatShare(0.041), formatShare(0), formatShare(null)]).toEqual([
    '100 %',
    '85 %',
    '4.1 %',
    '0 %',
    '-',
  ]);
});

it('names pool, namespace and image of RBD', () => {
  expect(formatConnection(rbd)).toBe('rbd:volumes/v');
  expect(formatConnection({ ...rbd, namespace: 'ns' })).toBe('rbd:volumes/ns/v');
});

const hostile = 'a\u001b]52;c;ZXZpbA==\u0007\r\nb\u009b2J\u007f\u202ec\u2066\u2028d\t';
const shown = 'a\\u001b]52;c;ZXZpbA==\\u0007\\r\\nb\\u009b2J\\u007f\\u202ec\\u2066\\u2028d\\t';

it('shows control characters as escapes in a cell, a field and a progress line, so that they fake no row', () => {
  expect(formatTable(['NAME', 'STATE'], [[hostile, 'ok']])).toEqual([
    `NAME${' '.repeat(shown.length - 2)}STATE`,
    `${shown}  ok`,
  ]);
  expect(formatRecord({ name: hostile, state: 'ok' })).toEqual([`name   ${shown}`, 'state  ok']);
  expect(formatProgress({ stage: hostile })).toBe(shown);
  expect(formatProgress({ stage: 'waiting', work: { stage: 'sealing', summary: hostile } })).toBe(shown);
});

it('shows a cell of several lines where its lines are ours', () => {
  expect(formatTable(['A', 'B'], [['1', ['x', 'y\n']]])).toEqual(['A  B', '1  x', '   y\\n']);
});

describe('formatProgress', () => {
  it('shows bytes, rate and the time that is left', () => {
    const work = {
      stage: 'downloading',
      summary: 'downloading',
      bytesDone: 120 * MiB,
      bytesTotal: 512 * MiB,
      bytesPerSecond: 98 * MiB,
    } as const;
    expect(formatProgress({ stage: 'waiting', work })).toBe('downloading 120 MiB of 512 MiB, 98 MiB/s, 4.0 s left');
  });

  it('shows what the activity says where no bytes are counted', () => {
    expect(formatProgress({ stage: 'waiting', work: { stage: 'sealing', summary: 'sealing the image-volume' } })).toBe(
      'sealing the image-volume',
    );
  });

  it('names the flight while nothing is known of it', () => {
    expect(formatProgress({ stage: 'waiting', flightWorkflowId: 'populate/local/ab' })).toBe(
      'waiting for populate/local/ab',
    );
    expect(formatProgress({ stage: 'admitting' })).toBe('admitting');
  });

  it('promises no end while the rate is zero', () => {
    const work = { stage: 'converting', summary: '', bytesDone: 0, bytesTotal: MiB, bytesPerSecond: 0 } as const;
    expect(formatProgress({ stage: 'waiting', work })).toBe('converting 0 B of 1 MiB');
  });
});

it('lines up a table without lines or trailing spaces', () => {
  expect(
    formatTable(
      ['ID', 'STATE'],
      [
        ['1234', 'ok'],
        ['5', 'error'],
      ],
    ),
  ).toEqual(['ID    STATE', '1234  ok', '5     error']);
});

it('lines up what is wider or narrower than its characters are many', () => {
  expect(
    formatTable(
      ['NAME', 'STATE'],
      [
        ['日本', 'ok'],
        ['e\u0301', 'ok'],
      ],
    ),
  ).toEqual(['NAME  STATE', '日本  ok', 'e\u0301     ok']);
});

describe('a table on a narrow terminal', () => {
  const id = '0f8fad5b-d9cb-469f-a165-70867728950e';
  const head = ['ID', 'NAME', 'WHY'];
  const rows = [[id, 'a-name-that-is-very-long-indeed', 'it is used by somebody']];

  it('shows the first digits of ids, and cuts the widest texts where that is not enough', () => {
    expect(formatTable(head, rows, { overflow: 'cut', columns: 70 })[1]).toBe(
      '0f8fad5b  a-name-that-is-very-long-indeed  it is used by somebody',
    );
    const lines = formatTable(head, rows, { overflow: 'cut', columns: 50 });
    expect(lines[1]).toBe('0f8fad5b  a-name-that-is-ver…  it is used by some…');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(50);
  });

  it('never cuts a time', () => {
    const at = '2026-01-31 14:05:09 UTC';
    expect(formatTable(['AT', 'NAME'], [[at, 'a-name-that-is-long']], { overflow: 'cut', columns: 36 })[1]).toBe(
      `${at}  a-name-tha…`,
    );
  });

  it('breaks the last column at spaces, where all of it is to be read', () => {
    expect(formatTable(['A', 'WHY'], [['1', 'it is used by somebody else at the moment']], { columns: 30 })).toEqual([
      'A  WHY',
      '1  it is used by somebody else',
      '   at the moment',
    ]);
  });

  it('breaks what has no spaces where the line ends, in a record too', () => {
    expect(formatTable(['A', 'WHY'], [['1', '0123456789012345 and so on']], { columns: 19 })).toEqual([
      'A  WHY',
      '1  0123456789012345',
      '   and so on',
    ]);
    expect(formatRecord({ hash: '0123456789abcdef0123', a: 'b c' }, { columns: 22 })).toEqual([
      'hash  0123456789abcdef',
      '      0123',
      'a     b c',
    ]);
  });

  it('stays as wide as it is with all columns', () => {
    expect(formatTable(head, rows, { overflow: 'none', columns: 70 })[1]).toContain(
      'a-name-that-is-very-long-indeed  it',
    );
  });
});

it('shows the head of a table without rows', () => {
  expect(formatTable(['ID', 'STATE'], [])).toEqual(['ID  STATE']);
});

it('leaves out the fields of a record that are unknown', () => {
  expect(formatRecord({ id: '1', name: undefined, state: 'ok' })).toEqual(['id     1', 'state  ok']);
});
