import type { Command } from 'commander';
import { parse } from 'yaml';
import {
  documentFormatIn,
  showList,
  showRecord,
  type ListView,
  type OutputOptions,
} from '../../../../../client/cli/output/show';
import { createProgram } from '../../../../../client/cli/program';
import { MiB } from '../../../../../workflows/contract/bytes';

interface Row {
  volumeId: string;
  name: string | null;
  sizeBytes: number;
  space: { freeBytes: number };
  createdAt: string;
  backend: string;
}

const row = {
  volumeId: 'v1',
  name: null,
  sizeBytes: 512 * MiB,
  space: { freeBytes: MiB },
  createdAt: '2026-01-31T14:05:09.123Z',
  backend: 'local',
};
const doc = { volumes: [row, { ...row, volumeId: 'v2', name: 'a\u001b\n\u202e' }], next: null };
const view: ListView<Row> = {
  list: 'volumes',
  id: 'volumeId',
  columns: ['volumeId', 'name', 'sizeBytes'],
  more: ['space.freeBytes', { name: 'createdAt', head: 'MADE' }],
  empty: 'no volumes',
};

let written: string;
beforeEach(() => {
  written = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written += String(text);
    return true;
  });
});
afterEach(() => jest.restoreAllMocks());

function listed(options: OutputOptions): string {
  showList(doc, view, options);
  return written;
}

function recorded(options: OutputOptions): string {
  showRecord(row, { id: 'volumeId' }, options);
  return written;
}

describe('a list', () => {
  it('is a table of few columns, and of all with -o wide', () => {
    expect(listed({})).toBe(
      [
        'VOLUME ID  NAME             SIZE',
        'v1         -                512 MiB',
        'v2         a\\u001b\\n\\u202e  512 MiB',
        '',
      ].join('\n'),
    );
    written = '';
    showList(
      { warmed: [{ bytesDownloaded: MiB, seconds: 90 }] },
      { list: 'warmed', id: 'x', columns: ['bytesDownloaded', 'seconds'], empty: '' },
      {},
    );
    expect(written).toContain('1 MiB             1 min 30 s');
    written = '';
    showList(
      { images: [{ minDiskGiB: 2, minRamMiB: 512 }] },
      { list: 'images', id: 'x', columns: ['minDiskGiB', 'minRamMiB'], empty: '' },
      {},
    );
    expect(written).toBe('MIN DISK GIB  MIN RAM MIB\n2             512\n');
    written = '';
    expect(listed({ output: 'wide' })).toContain(
      'v1         -                512 MiB  1 MiB  2026-01-31 14:05:09 UTC\n',
    );
  });

  it('says what it is empty of', () => {
    showList({ volumes: [] }, view, {});
    expect(written).toBe('no volumes\n');
  });

  it.each([{ json: true }, { output: 'json' } as const])('is one document with %j', (options) => {
    expect(JSON.parse(listed(options))).toEqual(doc);
    expect(written).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('is the same document as YAML, without what a terminal would act on', () => {
    expect(parse(listed({ output: 'yaml' }))).toEqual(doc);
    expect(written).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
  });

  it('is the ids with -o name, and bare values with -o value', () => {
    expect(listed({ output: 'name' })).toBe('v1\nv2\n');
    written = '';
    expect(listed({ output: 'value', column: ['name', 'size bytes'] })).toBe(
      `\t${512 * MiB}\na\\u001b\\n\\u202e\t${512 * MiB}\n`,
    );
  });

  it.each([['backend'], ['BACKEND'], ['Backend']])('prints only the column %s', (column) => {
    expect(listed({ column: [column] })).toBe('BACKEND\nlocal\nlocal\n');
  });

  it('takes the head of a column for its name', () => {
    expect(listed({ output: 'value', column: ['made', 'FREE'] })).toBe(
      `${row.createdAt}\t${MiB}\n${row.createdAt}\t${MiB}\n`,
    );
  });

  it('has only the chosen fields in a document', () => {
    expect(JSON.parse(listed({ json: true, column: ['volumeid', 'name'] }))).toEqual({
      volumes: [
        { volumeId: 'v1', name: null },
        { volumeId: 'v2', name: 'a\u001b\n\u202e' },
      ],
    });
  });

  it('refuses a column that there is not, with those that there are', () => {
    expect(() => listed({ column: ['colour'] })).toThrow(
      expect.objectContaining({ exitCode: 2, message: expect.stringContaining('volumeId, name, sizeBytes') }),
    );
  });
});

describe('a record', () => {
  it('is a line a field under its name in JSON, with what is unknown left out, bytes exact and times in UTC', () => {
    expect(recorded({})).toBe(
      [
        'volumeId   v1',
        'sizeBytes  536870912 (512 MiB)',
        'space      freeBytes=1048576 (1 MiB)',
        'createdAt  2026-01-31 14:05:09 UTC',
        'backend    local',
        '',
      ].join('\n'),
    );
  });

  it('is the chosen fields', () => {
    expect(recorded({ output: 'value', column: ['sizeBytes', 'name', 'backend'] })).toBe(`${512 * MiB}\n\nlocal\n`);
    written = '';
    expect(JSON.parse(recorded({ json: true, column: ['sizeBytes'] }))).toEqual({ sizeBytes: 512 * MiB });
  });

  it('is its id with -o name', () => {
    expect(recorded({ output: 'name' })).toBe('v1\n');
  });
});

it.each([
  [['--json'], 'json'],
  [['-o', 'json'], 'json'],
  [['-ojson'], 'json'],
  [['--output=yaml'], 'yaml'],
  [['--output', 'yaml'], 'yaml'],
  [['-o', 'wide'], undefined],
  [['json'], undefined],
] as const)('knows of %j that errors are told as %s too', (argv, format) => {
  expect(documentFormatIn(argv)).toBe(format);
});

/** They take over the terminal, say on it only how it went, or print what is for a shell or a person alone. */
const silent = ['api', 'completion', 'down', 'help', 'worker'];

function leaves(command: Command, path: string[] = []): { path: string; command: Command }[] {
  const below = command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
  return command.commands.length === 0 || command.name() === 'evict'
    ? [{ path: path.join(' '), command }, ...below]
    : below;
}

it('is how every command prints', () => {
  const found = leaves(createProgram());
  expect(found.length).toBeGreaterThan(40);
  const without = found.filter(({ command }) => {
    const long = command.options.map((option) => option.long);
    return !['--output', '--column', '--json'].every((name) => long.includes(name));
  });
  expect(without.map(({ path }) => path).sort()).toEqual(silent);
});
