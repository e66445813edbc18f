import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';

const folder = resolve(__dirname, '../../../db');
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
/**
 * A lock, or several tables, which may stand in a part that is made elsewhere: the builder is for the rest of what reads, but for what
 * nearly every request reads: the builder takes longer than the database.
 */
const isForSql =
  /\bfor (no key )?update\b|\b(join|union)\b|\bselect\b[\s\S]*\bselect\b|\bfrom \w+ \w, |nearCloneLimit|lock \?|\bfrom (?:volumes|attachments|default_volume_types) where \$\{where\}|\bfrom reimages where \$\{isOneOf/;

describe('statements of the inventory', () => {
  it('have the columns of their fields, each once', () => {
    const listing = files.flatMap((name) => nodesOf(name, isListing));
    expect(listing.length).toBeGreaterThan(30);
    expect(listing.filter((text) => text.match(/\$\{columns\}/g)?.length !== 1)).toEqual([]);
  });

  it('claim no type of a row that is not read so', () => {
    expect(linesWith(/^(?!\s*(\/\/|\/?\*)).*(\bsql<|\bas unknown as\b|\brows? as\b|\.unsafe\b)/)).toEqual([]);
  });

  it('are made by the builder where they read one table and lock nothing', () => {
    const written = files.flatMap((name) => nodesOf(name, isStatement));
    expect(written.length).toBeGreaterThan(50);
    const simple = written.filter((text) => /^sql`\s*select\b[\s\S]*\bfrom\b/.test(text) && !isForSql.test(text));
    expect(simple).toEqual([]);
  });
});

function nodesOf(name: string, isMeant: (node: ts.Node) => boolean): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (isMeant(node)) found.push(node.getText());
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(name, readFileSync(join(folder, name), 'utf8'), ts.ScriptTarget.Latest, true));
  return found;
}

/** A function that makes a statement of the list of its columns. */
function isListing(node: ts.Node): boolean {
  return ts.isArrowFunction(node) && node.parameters[0]?.name.getText() === 'columns';
}

/** A statement that is sent where it stands. */
function isStatement(node: ts.Node): boolean {
  if (!ts.isTaggedTemplateExpression(node)) return false;
  const { parent } = node;
  return isListing(parent) || (ts.isCallExpression(parent) && parent.expression.getText() === 'runStatement');
}

function linesWith(pattern: RegExp): string[] {
  return files
    .filter((name) => name !== 'statement.ts')
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
    .filter((line) => pattern.test(line));
}
