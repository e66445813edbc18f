/**
 * From a fresh checkout to volumes: installs and builds what is missing, starts the embedded stack, uploads two images and creates volumes from
 * them: a miss, five hits, and sixteen at once of the second image, which is populated once.
 *
 *   npm run quickstart                     stays until Ctrl-C on a terminal
 *   npm run quickstart -- --once           stops when done; `ivc up` finds the volumes again
 *   npm run quickstart -- --image FILE     with an image of yours as the first one
 *   npm run quickstart -- --data DIR       with its state in DIR
 *   npm run quickstart -- --json           one document on stdout
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { main, root } from './lib/run.mjs';
import { step } from './lib/step.mjs';

await main(async () => {
  const { values } = parseArgs({
    options: {
      image: { type: 'string' },
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      data: { type: 'string' },
    },
  });
  await build();
  const { quickstart } = await import(join(root, 'dist/client/cli/quickstart/quickstart.js'));
  return await quickstart({
    imagePath: values.image,
    dataDirectory: values.data,
    json: values.json,
    stays: process.stdout.isTTY && !values.once,
    step,
  });
});
