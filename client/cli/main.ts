#!/usr/bin/env node
// oxlint-disable-next-line import/no-unassigned-import -- it acts before the others are loaded.
import '../compile-cache';
import type { Command } from 'commander';
import { traced } from '../../lib/traced';
import { findTracing } from '../tracing';
import { documentFormatIn } from './output/show';
import { createProgram } from './program';
import { reportError } from './report-error';

async function main(argv: string[]): Promise<void> {
  const tracing = findTracing();
  try {
    await run(argv);
  } catch (error) {
    process.exitCode = reportError(error, { format: documentFormatIn(argv), argv });
  }
  await tracing?.flush();
}

/** In one span, named after the command: the whole of it is one trace. */
async function run(argv: string[]): Promise<void> {
  const span = () => ({ name: 'ivc', attributes: {}, mayBegin: true });
  await traced(span, async ({ rename }) => {
    const program = createProgram(argv);
    program.hook('preAction', (_, command) => rename(nameOf(command)));
    await program.parseAsync(argv);
  });
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

/** The reader of our output may close it early, as `head` does. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

void main(process.argv);
