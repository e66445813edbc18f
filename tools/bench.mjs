/**
 * Measures hits, the same through the block-storage API, clones of one parent, bulk creates, herds, misses and a resumed download beside their bare floors, a small inventory beside a large one,
 * the 404 of what is another project's beside that of what is not there, and eviction policies:
 * `npm run bench -- [--only hit|api|clones|bulk|herd|miss|resume|scale|lists|refusals|policies] [--backend reflink|overlay|ceph] [--json]`.
 * Or a real Cinder and the product on one Ceph and one Glance: `npm run bench -- --backend ceph --beside cinder [--json]`.
 */
import { join } from 'node:path';
import { build } from './build.mjs';
import { exitCodeOf, main, root } from './lib/run.mjs';

await main(async (args) => {
  await build();
  return await exitCodeOf(process.execPath, [join(root, 'dist/test/bench/main.js'), ...args], { stdio: 'inherit' });
});
