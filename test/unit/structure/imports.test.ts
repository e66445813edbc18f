import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';

const root = resolve(__dirname, '../../..');

interface Import {
  /** Path of the importing file, relative to the root. */
  from: string;
  /** Relative to the root for our own files, else the package's name. */
  to: string;
  typeOnly: boolean;
}

/** Every backend has the same files, named after the parts of the one interface. */
const mirroring = /^(activities\/backends\/)(?:file|rbd)\//;
const mirrored = new Set([
  'index.ts',
  'main.ts',
  // Our side of a foreign thing: its client, the schema of its answers, the meaning of its errors.
  'client.ts',
  'schema.ts',
  'errors.ts',
  'backend.ts',
  'markers.ts',
  'names.ts',
  // One subject in each layer: contract, workflow, activity, inventory, client, command line.
  'volume.ts',
  'attachment.ts',
  'volume-changes.ts',
  'delete-volume.ts',
  'extend-volume.ts',
  // A verb of every backend.
  'grow.ts',
  'volumes.ts',
  'snapshots.ts',
  'eviction.ts',
  'refresh.ts',
  'reconcile.ts',
  'report.ts',
  'quotas.ts',
  'cache-limits.ts',
  'progress.ts',
  // A resource in each layer, and the part of the block-storage API that shows it.
  'attachments.ts',
  'messages.ts',
  'transfers.ts',
  'volume-type.ts',
  'volume-types.ts',
  'snapshot.ts',
]);

interface Rule {
  says: string;
  isBroken(found: Import): boolean;
}

const sourceFolders = ['workflows', 'activities', 'worker', 'client', 'api', 'db', 'lib'];
const isOwn = (to: string): boolean => /^(workflows|activities|worker|client|api|db|lib|test)\//.test(to);
const inside = (path: string, ...folders: string[]): boolean => folders.some((folder) => path.startsWith(`${folder}/`));
const isTemporal = (to: string): boolean => to.startsWith('@temporalio/');
/** Verbs of activities, each in a room of its own. */
const verbs = [
  'create',
  'populate',
  'transfer',
  'delete',
  'change',
  'flatten',
  'evict',
  'refresh',
  'warm',
  'follow',
  'reconcile',
  'quota',
  'import',
];
const verbOf = (path: string): string | undefined => verbs.find((verb) => inside(path, `activities/${verb}`));
/** The files beside the rooms: the dependencies of a worker, and the list of all activities. */
const isComposition = (from: string): boolean => /^activities\/[^/]+\.ts$/.test(from);
/** Adapters wrap one foreign thing each; the verbs compose them into activities. */
const isAdapter = (from: string): boolean =>
  inside(
    from,
    'activities/backends',
    'activities/cinder',
    'activities/glance',
    'activities/image',
    'activities/keystone',
    'activities/nova',
  ) || from === 'activities/command.ts';

const rules: Rule[] = [
  {
    says: 'workflows import @temporalio/workflow, their own files and types of activities, nothing else: not lib, which the sandbox has no Node for',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'workflows') &&
      !(
        to === '@temporalio/workflow' ||
        inside(to, 'workflows') ||
        (inside(to, 'activities') && typeOnly) ||
        to === 'activities/index.ts'
      ),
  },
  {
    says: 'the contract imports only itself',
    isBroken: ({ from, to }) => inside(from, 'workflows/contract') && !inside(to, 'workflows/contract'),
  },
  {
    says: 'adapters and db import no Temporal package',
    isBroken: ({ from, to }) => (isAdapter(from) || inside(from, 'db')) && isTemporal(to),
  },
  {
    says: 'adapters do not know the inventory',
    isBroken: ({ from, to }) => isAdapter(from) && inside(to, 'db'),
  },
  {
    says: 'no verb of the activities imports another, and nothing that verbs share imports a verb',
    isBroken: ({ from, to }) =>
      inside(from, 'activities') && !isComposition(from) && verbOf(to) !== undefined && verbOf(from) !== verbOf(to),
  },
  {
    says: 'client imports no values of activities, but the clients of the image service, of Keystone and of the database of Cinder',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'client') &&
      inside(to, 'activities') &&
      !inside(to, 'activities/glance', 'activities/keystone', 'activities/cinder') &&
      !typeOnly,
  },
  {
    says: 'api imports values of the client, the contract and lib, and the client of Keystone, nothing else of ours',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'api') &&
      isOwn(to) &&
      !inside(to, 'api', 'client', 'workflows/contract', 'lib', 'activities/keystone') &&
      !typeOnly,
  },
  {
    says: 'nobody imports the api but the worker, which composes its process',
    isBroken: ({ from, to }) => !inside(from, 'api', 'worker') && inside(to, 'api'),
  },
  {
    says: 'client imports values of db in client/inventory.ts only',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'client') && inside(to, 'db') && !typeOnly && from !== 'client/inventory.ts',
  },
  {
    says: 'db imports of our own only itself, lib and the contract',
    isBroken: ({ from, to }) => inside(from, 'db') && isOwn(to) && !inside(to, 'db', 'lib', 'workflows/contract'),
  },
  {
    says: 'activities import of the client only its configuration, as types',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'activities') && inside(to, 'client') && !(inside(to, 'client/config') && typeOnly),
  },
  {
    says: 'lib imports only Node and itself, and types of zod',
    isBroken: ({ from, to, typeOnly }) =>
      inside(from, 'lib') && !(to.startsWith('node:') || inside(to, 'lib') || (to === 'zod' && typeOnly)),
  },
  {
    says: 'nobody imports worker',
    isBroken: ({ from, to }) => !inside(from, 'worker') && inside(to, 'worker'),
  },
  {
    says: 'nothing but tests imports tests',
    isBroken: ({ to }) => inside(to, 'test'),
  },
];

function breaches(imports: Import[]): string[] {
  return imports.flatMap((found) =>
    rules.filter((rule) => rule.isBroken(found)).map(({ says }) => `${found.from} -> ${found.to}: ${says}`),
  );
}

function importsOf(file: string): Import[] {
  const from = relative(root, file);
  const source = parse(file);
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) => found.push({ from, to: targetOf(file, specifier), typeOnly });
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier))
      add(node.moduleSpecifier.text, isTypeOnly(node));
    if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier))
      add(node.moduleSpecifier.text, node.isTypeOnly);
    const [argument] = ts.isCallExpression(node) ? node.arguments : [];
    if (ts.isCallExpression(node) && argument && ts.isStringLiteral(argument)) {
      const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
      const isRequire = ts.isIdentifier(node.expression) && node.expression.text === 'require';
      if (isImport || isRequire) add(argument.text, false);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** @returns the files of a circle of imports; none where there is none. */
function findCircle(targets: ReadonlyMap<string, string[]>): string[] {
  const done = new Set<string>();
  const visit = (path: string, way: string[]): string[] => {
    if (way.includes(path)) return way.slice(way.indexOf(path));
    if (done.has(path)) return [];
    for (const target of targets.get(path) ?? []) {
      const circle = visit(target, [...way, path]);
      if (circle.length > 0) return circle;
    }
    done.add(path);
    return [];
  };
  return [...targets.keys()].map((path) => visit(path, [])).find((circle) => circle.length > 0) ?? [];
}

function renamedImportsOfDb(file: string): string[] {
  const renamed: string[] = [];
  for (const node of parse(file).statements) {
    if (!ts.isImportDeclaration(node) || !ts.isStringLiteral(node.moduleSpecifier)) continue;
    const bindings = node.importClause?.namedBindings;
    if (!inside(targetOf(file, node.moduleSpecifier.text), 'db') || !bindings || !ts.isNamedImports(bindings)) continue;
    for (const { name, propertyName } of bindings.elements)
      if (propertyName) renamed.push(`${relative(root, file)}: ${propertyName.text} as ${name.text}`);
  }
  return renamed;
}

function exportedNames(file: string): string[] {
  return parse(file).statements.flatMap((node) => {
    if (!ts.canHaveModifiers(node) || !node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword))
      return [];
    if (ts.isVariableStatement(node))
      return node.declarationList.declarations.flatMap(({ name }) => (ts.isIdentifier(name) ? [name.text] : []));
    return isNamed(node) && node.name ? [node.name.text] : [];
  });
}

function isNamed(
  node: ts.Node,
): node is ts.FunctionDeclaration | ts.ClassDeclaration | ts.InterfaceDeclaration | ts.TypeAliasDeclaration {
  return (
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node)
  );
}

const parsed = new Map<string, ts.SourceFile>();

function parse(file: string): ts.SourceFile {
  const source = parsed.get(file) ?? ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest);
  parsed.set(file, source);
  return source;
}

function isTypeOnly({ importClause }: ts.ImportDeclaration): boolean {
  if (!importClause) return false;
  const { namedBindings } = importClause;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  if (importClause.name || !namedBindings || !ts.isNamedImports(namedBindings)) return false;
  return namedBindings.elements.length > 0 && namedBindings.elements.every((element) => element.isTypeOnly);
}

function targetOf(file: string, specifier: string): string {
  if (!specifier.startsWith('.'))
    return specifier.startsWith('@')
      ? specifier.split('/').slice(0, 2).join('/')
      : (specifier.split('/')[0] ?? specifier);
  const path = relative(root, resolve(dirname(file), specifier));
  return /\.\w+$/.test(path) ? path : isOwn(`${path}/`) && !path.includes('/') ? `${path}/index.ts` : `${path}.ts`;
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

describe('what may import what', () => {
  it('holds for every import of the tree', () => {
    const files = sourceFolders.flatMap(sourceFiles);
    expect(files.length).toBeGreaterThan(50);
    expect(breaches(files.flatMap(importsOf))).toEqual([]);
  });

  it('imports a statement under its own name', () => {
    expect(sourceFolders.flatMap(sourceFiles).flatMap(renamedImportsOfDb)).toEqual([]);
  });

  it('gives no two exported things one name, but where one backend mirrors another', () => {
    const exported = sourceFolders.flatMap(sourceFiles).flatMap((file) => {
      const path = relative(root, file).replace(mirroring, '$1<backend>/');
      return [...new Set(exportedNames(file))].map((name) => ({ name, path }));
    });
    expect(exported.length).toBeGreaterThan(1000);
    const inBackends = ({ path }: { path: string }) => path.includes('<backend>');
    const twice = exported.filter((one, at) =>
      exported.some(
        (other, before) => before < at && other.name === one.name && !(inBackends(one) && inBackends(other)),
      ),
    );
    expect(twice).toEqual([]);
  });

  it('gives no two files one name, but where folders mirror each other', () => {
    const paths = sourceFolders
      .flatMap(sourceFiles)
      .map((file) => relative(root, file).replace(mirroring, '$1<backend>/'));
    const twice = [...new Set(paths)].filter(
      (path, at, all) =>
        !mirrored.has(basename(path)) && all.findIndex((other) => basename(other) === basename(path)) !== at,
    );
    expect(twice).toEqual([]);
  });

  it('has no circle, of types neither', () => {
    const imports = sourceFolders.flatMap(sourceFiles).flatMap(importsOf);
    const targets = new Map<string, string[]>();
    for (const { from, to } of imports) if (isOwn(to)) targets.set(from, [...(targets.get(from) ?? []), to]);
    expect(findCircle(targets)).toEqual([]);
  });

  it('serves HTTP in two places, which refuse the web pages of others where they ask for no credentials', () => {
    const serving = sourceFolders
      .flatMap(sourceFiles)
      .filter((file) =>
        /\{[^{}]*\bcreate(?:Secure)?Server\b[^{}]*\} from '(?:node:)?http/.test(readFileSync(file, 'utf8')),
      );
    expect(serving.map((file) => relative(root, file))).toEqual(['worker/loopback-server.ts', 'api/listener.ts']);
  });

  it.each<Import>([
    { from: 'workflows/x.ts', to: 'node:fs', typeOnly: false },
    { from: 'workflows/x.ts', to: 'activities/create/admit-volume.ts', typeOnly: false },
    { from: 'workflows/contract/x.ts', to: '@temporalio/workflow', typeOnly: true },
    { from: 'workflows/x.ts', to: 'lib/errno.ts', typeOnly: false },
    { from: 'workflows/contract/x.ts', to: 'lib/errno.ts', typeOnly: false },
    { from: 'lib/x.ts', to: 'zod', typeOnly: false },
    { from: 'lib/x.ts', to: 'workflows/contract/failures.ts', typeOnly: true },
    { from: 'activities/backends/file/x.ts', to: '@temporalio/activity', typeOnly: false },
    { from: 'db/queries/x.ts', to: '@temporalio/client', typeOnly: true },
    { from: 'client/x.ts', to: 'activities/image/inspect.ts', typeOnly: false },
    { from: 'activities/create/x.ts', to: 'activities/transfer/write-guest-bytes.ts', typeOnly: true },
    { from: 'activities/kit/x.ts', to: 'activities/create/admit-volume.ts', typeOnly: true },
    { from: 'client/x.ts', to: 'db/client.ts', typeOnly: false },
    { from: 'client/cli/x.ts', to: 'worker/main.ts', typeOnly: true },
    { from: 'activities/glance/x.ts', to: 'db/client.ts', typeOnly: true },
  ])('refuses $from -> $to', (found) => {
    expect(breaches([found])).not.toEqual([]);
  });

  it('sees imports in every form they can take', () => {
    expect(importsOf(__filename).map(({ to }) => to)).toEqual(expect.arrayContaining(['node:fs', 'typescript']));
  });
});
