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

void main(process.argv);
