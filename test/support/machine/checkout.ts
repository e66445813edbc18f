import { resolve } from 'node:path';

/** The checkout, from the sources and from dist alike. */
export const checkout = resolve(__dirname, __dirname.includes('dist') ? '../../../..' : '../../..');
