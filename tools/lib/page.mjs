import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as prettier from 'prettier';
import { root } from './run.mjs';

/**
 * Writes a page of the documentation that is made from the sources, laid out as its neighbours are.
 * @param made.path below the checkout; `script`: the one of package.json that writes it.
 * @returns 1 where the arguments have `--check` and it is not current; then nothing is written.
 */
export async function writePage(args, { path, script, render }) {
  const page = join(root, path);
  const text = await prettier.format(await render(), { ...(await prettier.resolveConfig(page)), filepath: page });
  if (!args.includes('--check')) writeFileSync(page, text);
  else if (readFileSync(page, 'utf8') !== text) {
    console.error(`${path} is not what the sources say: npm run ${script}`);
    return 1;
  }
  return 0;
}
