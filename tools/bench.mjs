/** Measures hits, herds and misses beside their bare floors: `npm run bench -- [--only hit|herd|miss] [--backend reflink|overlay] [--json]`. */
import { join } from 'node:path';
import { build } from './build.mjs';
import { exitCodeOf, main, root } from './lib/run.mjs';

await main(async (args) => {
  await build();
  return await exitCodeOf(process.execPath, [join(root, 'dist/test/bench/main.js'), ...args], { stdio: 'inherit' });
});
