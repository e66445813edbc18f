/** Writes `docs/library.md`, the page of the client library, from the sources; `--check` says whether it is current. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as prettier from 'prettier';
import { Application } from 'typedoc';
import { isMain, main, root } from './lib/run.mjs';

const page = join(root, 'docs/library.md');

const head = `# Library

What \`import … from 'image-volume-cache'\` gives, made from the sources by \`npm run library\`. [README](../README.md#from-typescript) shows a first program.

`;

async function writePage() {
  const text = await render();
  if (!process.argv.includes('--check')) writeFileSync(page, text);
  else if (readFileSync(page, 'utf8') !== text) {
    console.error('docs/library.md is not what the sources say: npm run library');
    return 1;
  }
  return 0;
}

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
    const made = readFileSync(join(directory, 'README.md'), 'utf8');
    return await prettier.format(`${head}${made}`, { ...(await prettier.resolveConfig(page)), filepath: page });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (isMain(import.meta.url)) await main(writePage);
