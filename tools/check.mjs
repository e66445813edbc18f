/** Format, lint, types, unused code and the library's page, side by side; says only what is wrong. */
import { join } from 'node:path';
import { capture, main, root } from './lib/run.mjs';
import { setup } from './setup.mjs';

const bin = (name) => join(root, 'node_modules/.bin', name);
const checks = [
  { name: 'format', command: bin('prettier'), args: ['--check', '--log-level=warn', '.'] },
  { name: 'lint', command: bin('oxlint'), args: ['--type-aware'] },
  {
    name: 'types',
    command: bin('tsc'),
    args: ['--noEmit', '-p', root, '--tsBuildInfoFile', join(root, 'node_modules/.cache/check.tsbuildinfo')],
  },
  { name: 'unused', command: bin('knip'), args: ['--no-progress'] },
  // Without the tests: code that only they use belongs to test/support.
  { name: 'unused in the product', command: bin('knip'), args: ['--no-progress', '--production'] },
  { name: 'library page', command: process.execPath, args: [join(root, 'tools/library-page.mjs'), '--check'] },
  { name: 'calls of the API', command: process.execPath, args: [join(root, 'tools/openapi-page.mjs'), '--check'] },
];

await main(async () => {
  await setup();
  const results = await Promise.all(checks.map(runCheck));
  for (const { name, code, output } of results) if (code !== 0) console.error(`\n--- ${name}\n${output.trimEnd()}`);
  for (const { name, code, seconds } of results)
    console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  return results.some(({ code }) => code !== 0) ? 1 : 0;
});

async function runCheck({ name, command, args }) {
  const started = performance.now();
  const { code, output } = await capture(command, args);
  return { name, code, output, seconds: Math.round((performance.now() - started) / 100) / 10 };
}
