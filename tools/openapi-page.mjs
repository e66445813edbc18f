/** Writes `docs/openapi.md`, the calls of the block-storage API with their bodies, from the sources; `--check` says whether it is current. */
import { createRequire } from 'node:module';
import { writePage } from './lib/page.mjs';
import { isMain, main } from './lib/run.mjs';

const require = createRequire(import.meta.url);

const head = `# Calls of the block-storage API

The same as \`GET /v3/openapi.json\` of a running API says in OpenAPI 3.1; made from the sources by \`npm run openapi\`. [api.md](api.md) says what differs from Cinder.

`;

async function render() {
  // oxlint-disable-next-line import/no-unassigned-import -- it teaches `require` TypeScript.
  require('../test/support/register-typescript.cjs');
  const { describeApi } = require('../test/support/stack/describe-api.ts');
  const { paths } = await describeApi();
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags))].sort();
  const sections = tags.map((tag) => {
    const calls = operations.filter(({ operation }) => operation.tags.includes(tag));
    return `## ${tag}\n\n${calls.map(callOf).join('\n\n')}\n`;
  });
  return `${head}${sections.join('\n')}`;
}

function callOf({ path, method, operation }) {
  const line = `\`${method.toUpperCase()} ${path}\``;
  const schema = operation.requestBody?.content['application/json'].schema;
  return schema === undefined ? line : `${line}\n\n\`\`\`json\n${JSON.stringify(schema, undefined, 2)}\n\`\`\``;
}

if (isMain(import.meta.url))
  await main((args) => writePage(args, { path: 'docs/openapi.md', script: 'openapi', render }));
