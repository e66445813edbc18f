#!/usr/bin/env node
import { createProgram } from './program';
import { reportError } from './report-error';

async function main(argv: string[]): Promise<void> {
  try {
    await createProgram().parseAsync(argv);
  } catch (error) {
    process.exitCode = reportError(error, { json: argv.includes('--json') });
  }
}

/** The reader of our output may close it early, as `head` does. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

void main(process.argv);
