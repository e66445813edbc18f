/**
 * From a fresh checkout to volumes: installs and builds what is missing, starts the embedded stack, uploads two images and creates volumes from
 * them: a miss, five hits, and sixteen at once of the second image, which is populated once.
 *
 *   npm run quickstart                     stays until Ctrl-C on a terminal
 *   npm run quickstart -- --once           stops when done and leaves nothing behind
 *   npm run quickstart -- --image FILE     with an image of yours as the first one
 *   npm run quickstart -- --json           one document on stdout
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.mjs';
import { main, root } from './lib/run.mjs';

await main(async () => {
  const { values } = parseArgs({
    options: {
      image: { type: 'string' },
      once: { type: 'boolean' },
      json: { type: 'boolean' },
      data: { type: 'string' },
    },
  });
  await build();
  const stays = process.stdout.isTTY && !values.once;
  // What stays is the newcomer's own stack, in its usual place; what does not leaves nothing, data included.
  const temporary = stays || values.data !== undefined ? undefined : mkdtempSync(join(tmpdir(), 'ivc-quickstart-'));
  try {
    const { quickstart } = await import(join(root, 'dist/client/cli/quickstart/quickstart.js'));
    return await quickstart({
      imagePath: values.image,
      dataDirectory: values.data ?? temporary,
      json: values.json === true,
      stays,
    });
  } finally {
    if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
  }
});
