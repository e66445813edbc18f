import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { expectBackend } from '../../reads';
import { lazy } from '../lazy';
import { note } from '../output/print';
import { isForProgram, showRecord } from '../output/show';
import { withClient, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBackend, parsePeriod } from '../values';

const DEFAULT_PERIOD = '24h';
/** The inventory keeps decisions for good; a longer period is a question for the database itself. */
const MAX_PERIOD_DAYS = 366;

interface ReportOptions extends SharedOptions {
  since: number;
  backend?: string;
  html?: string;
}

export function registerReport(program: Command): void {
  const command = program
    .command('report')
    .description('show hit rate over time, savings, the most expensive misses, and what was evicted for what')
    .option(
      '--since <period>',
      'the period up to now, such as 90m, 24h or 7d',
      parsePeriodOption,
      parsePeriodOption(DEFAULT_PERIOD),
    )
    .option('--backend <name>', 'only on this backend', parseBackend)
    .option('--html <file>', 'write one self-contained page with plots');
  withSharedOptions(command).action(report);
}

function parsePeriodOption(text: string): number {
  return parsePeriod(text, MAX_PERIOD_DAYS);
}

async function report({ since, backend, html, ...shared }: ReportOptions): Promise<void> {
  const found = await withClient(shared, async (cache) => {
    await expectBackend(cache, backend);
    return await (await cache.inventory()).readReport({ withinMs: since, backend });
  });
  if (html !== undefined) {
    // It names projects' images and volumes.
    await writeFile(html, lazy.reportHtml.formatReportHtml(found), { mode: 0o600 });
    note(`wrote ${resolve(html)}`);
  }
  const text = (doc: typeof found) => lazy.reportText.formatReportText(doc);
  if (html === undefined || isForProgram(shared)) showRecord(found, { id: 'backend', text }, shared);
}
