import Module from 'node:module';
import type * as zodModule from 'zod';

/**
 * Loads zod as a process needs it that validates a few documents once: without the messages in fifty languages, which nothing of the
 * command line asks for and which are half of its time, and without compiling its schemas. Only for a process of ours: a program that
 * uses the library may ask for either.
 */
export function quickenValidation(): void {
  const locales = require.resolve('zod/v4/locales');
  require.cache[locales] ??= Object.assign(new Module(locales), { loaded: true });
  const { config }: typeof zodModule = require('zod');
  config({ jitless: true });
}
