/** Writes `docs/library.md`, the page of the client library, from the sources; `--check` says whether it is current. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Application } from 'typedoc';
import { writePage } from './lib/page.mjs';
import { isMain, main, root } from './lib/run.mjs';

const head = `# Library

The exports of \`image-volume-cache\`, made from the sources by \`npm run library\`. [README](../README.md#from-typescript) shows a first program.

`;

async function render() {
  const directory = mkdtempSync(join(tmpdir(), 'ivc-library-'));
  try {
    const app = await Application.bootstrapWithPlugins({
      entryPoints: [join(root, 'client/index.ts')],
      tsconfig: join(root, 'tsconfig.build.json'),
      plugin: ['typedoc-plugin-markdown'],
      logLevel: 'Error',
      skipErrorChecking: true,
      // It would empty its own default, docs.
      cleanOutputDir: false,
      disableSources: true,
      excludeExternals: true,
      excludePrivate: true,
      readme: 'none',
      sort: ['kind', 'alphabetical'],
      outputFileStrategy: 'modules',
      hidePageHeader: true,
      hidePageTitle: true,
      hideBreadcrumbs: true,
      useCodeBlocks: true,
      expandObjects: true,
      parametersFormat: 'table',
      interfacePropertiesFormat: 'table',
      typeDeclarationFormat: 'table',
      propertyMembersFormat: 'table',
      classPropertiesFormat: 'table',
      enumMembersFormat: 'table',
      tableColumnSettings: { hideSources: true, hideInherited: true, hideModifiers: true, hideDefaults: true },
    });
    const project = await app.convert();
    if (!project) throw new Error('typedoc has made nothing');
    await app.outputs.writeOutput({ name: 'markdown', path: directory }, project);
    return `${head}${readFileSync(join(directory, 'README.md'), 'utf8')}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (isMain(import.meta.url))
  await main((args) => writePage(args, { path: 'docs/library.md', script: 'library', render }));
