import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { scopedQueries } from '../../support/database/scoped-queries';

const folder = resolve(__dirname, '../../../db');
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

/** The tables whose rows belong to projects. */
const tables = 'volumes|snapshots|attachments';
/** A statement that reads or changes such rows. */
const statement = new RegExp(
  `\\b(?:from|join|update|into) (?:${tables})\\b|\\.(?:from|update|insert|delete|insertInto)\\((?:${tables})\\)`,
  'g',
);

/**
 * Functions that reach every project's rows: by workflows about a volume that they were given by its admission or its delete,
 * and by operators' verbs. A query that a user may make by an id of his own choice is not among them: it takes a scope.
 */
const ofWorkflowsAndOperators: Record<string, string[]> = {
  'acquire.ts': ['leaseEntries'],
  'attachments.ts': [
    'findAttachmentIds',
    'listAttachmentsOf',
    'putAttachment',
    'readAttachments',
    'removeAttachment',
    'writeHold',
  ],
  'backends.ts': ['countHoldings'],
  'creates.ts': [
    'completeVolumes',
    'findInTheWay',
    'hasCreating',
    'holdEntryOf',
    'holdSize',
    'insertOrTakeOver',
    'markAllFailed',
    'releaseLeases',
    'removeGivenUp',
    'removeOrphan',
    'takeOverVolumes',
    'unpromisedBytes',
  ],
  'entries/clones.ts': ['endHolds', 'releaseFlattened', 'selectClones'],
  'entries/entries.ts': ['findLeased'],
  'events.ts': ['recordVolumeEvent'],
  'evictions/eviction-view.ts': ['findAwaited'],
  'evictions/evictor.ts': ['forgetGone', 'releaseVolumes'],
  'extensions.ts': ['endExtending', 'growPromised', 'promise', 'revertExtension'],
  'flights.ts': ['isWanted', 'waitersOf'],
  'follows/follow-surplus.ts': ['retire'],
  'follows/follows.ts': ['resolveFollow'],
  'imports.ts': ['beginGivingBack', 'insertTaken'],
  'installation.ts': ['adoptInstallation'],
  'join-flight.ts': ['lockWaiters', 'wait'],
  'placement.ts': ['viewBackends'],
  'reconcile/reconcile-adopt.ts': ['adoptVolume', 'findImageOf', 'finishVolume'],
  'reconcile/reconcile-entries.ts': ['correctCloneCount', 'listMiscounted'],
  'reconcile/reconcile-volumes.ts': ['endDeadCreate', 'listVolumesById', 'lockAsSeen', 'markFound', 'markMissing'],
  // Of a volume that was found in its scope.
  'reimage-admission.ts': ['beginAgain'],
  'reimages.ts': ['beginInPlace', 'dropReimage', 'endWithout', 'findTaking', 'writeReplaced'],
  'report/gauges.ts': ['readBackendGauges', 'readVolumeGauges'],
  // Names of images, for operators.
  'report/report.ts': ['readExpensiveMisses', 'readImageUse'],
  'shares.ts': ['endShare', 'recordShareEvent'],
  'snapshots.ts': [
    'completeSnapshot',
    'endHold',
    'listSnapshotsById',
    'lockSnapshot',
    'markSnapshotDeleted',
    'markSnapshotFailed',
    'readSnapshots',
    'removeGivenUpSnapshot',
    'takeOverSnapshot',
    'writeSnapshot',
  ],
  // Of an offer that was found in its scope, or whose key its caller has.
  'transfers.ts': ['markNotOffered', 'markOffered', 'moveVolume', 'snapshotsThere'],
  // Of a volume whose upload was begun in its scope.
  'held-uploads.ts': ['endUpload', 'markUploading'],
  // Of the types of volumes, for administrators.
  'volume-types.ts': ['isUsed', 'updateVolumeType'],
  'volume-lists.ts': ['readProjectTotals'],
  'volumes.ts': ['listSnapshotsOf', 'markDeleted', 'readVolumes', 'revertDeleting'],
};

interface Query {
  file: string;
  name: string;
  text: string;
}

describe('queries over what belongs to projects', () => {
  const queries = files.flatMap(queriesOf);
  const isScoped = ({ text }: Query): boolean => /\bscope: ProjectScope\b/.test(text);

  it('are scoped, or those of workflows and operators', () => {
    const others: Record<string, string[]> = {};
    for (const query of queries.filter((found) => !isScoped(found)))
      others[query.file] = [...(others[query.file] ?? []), query.name].sort();
    expect(others).toEqual(ofWorkflowsAndOperators);
  });

  it('have the condition wherever they read, where they are scoped', () => {
    const scoped = queries.filter(isScoped);
    expect(scoped.length).toBeGreaterThan(1);
    const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
    const open = scoped.filter(({ text }) => count(text, statement) > count(text, /\bisInScope\(/g));
    expect(open.map(({ name }) => name)).toEqual([]);
  });

  it('are walked with a foreign project, where they are scoped', () => {
    const names = queries.filter(isScoped).map(({ name }) => name);
    expect(names.sort()).toEqual(Object.keys(scopedQueries).sort());
  });
});

/** The functions and constants of a file that hold such a statement. */
function queriesOf(file: string): Query[] {
  const source = ts.createSourceFile(file, readFileSync(join(folder, file), 'utf8'), ts.ScriptTarget.Latest, true);
  return source.statements.flatMap((node) => {
    if (ts.isImportDeclaration(node)) return [];
    const text = node.getText();
    return text.match(statement) === null ? [] : [{ file, name: nameOf(node), text }];
  });
}

function nameOf(node: ts.Statement): string {
  if (ts.isFunctionDeclaration(node)) return node.name?.text ?? '';
  if (ts.isVariableStatement(node)) return node.declarationList.declarations[0]?.name.getText() ?? '';
  return node.getText().slice(0, 40);
}
