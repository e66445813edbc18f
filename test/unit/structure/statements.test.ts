import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = resolve(__dirname, '../../../db');
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const linesWith = (pattern: RegExp): string[] =>
  files.flatMap((name) =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .filter((line) => pattern.test(line))
      .map((line) => `${name}: ${line.trim()}`),
  );

describe('statements of the inventory', () => {
  it('have rows of a type that is checked: none is claimed for a row of the driver', () => {
    expect(
      linesWith(/runStatement<|as unknown as|\brows? as [A-Z]/).filter((line) => !line.startsWith('statement.ts')),
    ).toEqual([]);
  });

  it('are sent by statement.ts alone', () => {
    expect(linesWith(/\.orm\b|\.sql\.unsafe\(/).filter((line) => !line.startsWith('statement.ts'))).toEqual([]);
  });
});
