import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** @returns the absolute directory of the package, whether this code runs from its sources or from `dist/`. */
export function packageRoot(): string {
  const candidates = ['../..', '../../..'].map((up) => resolve(__dirname, up));
  return candidates.find((directory) => existsSync(join(directory, 'package.json'))) ?? resolve(__dirname, '../..');
}
