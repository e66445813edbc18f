import { InvalidArgumentError, type Command } from 'commander';
import { formatBytes } from '../../../workflows/contract/bytes';
import { quotaNames, type QuotaName, type SetQuotasInput } from '../../../workflows/contract/quotas';
import type { ProjectQuota, ProjectQuotas } from '../../records';
import { getQuotas, listQuotas } from '../../reads';
import { lazy } from '../lazy';
import { formatInstant } from '../output/format';
import { formatTable } from '../output/table';
import { showList, showRecord, type ListView } from '../output/show';
import { requiredProjectOf, withOneProject, type ProjectOptions } from '../project';
import { noteNextPage, runVerb, showFound, withSharedOptions, type SharedOptions } from '../run-verb';
import { parseBytes, parseCount, parseWholeNumber } from '../values';
import { userName } from './evict';

type Given = SetQuotasInput['quotas'];
/** As typed: commander knows no null. */
type Typed = Partial<Record<QuotaName, number | 'unlimited' | 'default'>>;
type SetOptions = SharedOptions & ProjectOptions & Typed;

const PAGE_PROJECTS = 200;

export function registerQuota(quota: Command): void {
  const show = quota.command('show').description('show the quotas of a project and what it uses of them');
  withSharedOptions(withOneProject(show)).action(async (options: SharedOptions & ProjectOptions) => {
    await showFound(
      options,
      (cache) => getQuotas(cache, requiredProjectOf(cache.settings, options)),
      (found) => showRecord(found, view, options),
    );
  });

  const set = quota
    .command('set')
    .description(
      'for operators: set quotas of a project; each is a limit, unlimited, or default for what is configured',
    )
    .option('--volumes <n>', 'volumes', limitOf(parseWholeNumber))
    .option('--snapshots <n>', 'snapshots', limitOf(parseWholeNumber))
    .option(
      '--bytes <size>',
      'of all its volumes and snapshots together: 500GiB, 10TiB, or a number of bytes',
      limitOf(parseLimitBytes),
    )
    .option('--volume-bytes <size>', 'of each volume', limitOf(parseLimitBytes));
  withSharedOptions(withOneProject(set)).action(async (options: SetOptions) => {
    const quotas = givenIn(options);
    if (Object.keys(quotas).length === 0)
      set.error(
        "error: got no quota, allowed is one at least of '--volumes', '--snapshots', '--bytes', '--volume-bytes'",
      );
    await runVerb(
      options,
      async (cache, { signal }) => {
        const projectId = requiredProjectOf(cache.settings, options);
        await lazy.quotas.setQuotas(cache, { projectId, quotas, by: userName() }, { signal });
        return await getQuotas(cache, projectId);
      },
      (found) => showRecord(found, view, options),
    );
  });

  const list = quota
    .command('list')
    .description('for operators: the quotas of all projects that have volumes, or quotas of their own')
    .option('--limit <n>', 'at most this many projects', parseCount, PAGE_PROJECTS)
    .option('--after <project-id>', 'the next page: the projects after this one');
  withSharedOptions(list).action(
    async ({ limit, after, ...shared }: SharedOptions & { limit: number; after?: string }) => {
      await showFound(
        shared,
        async (cache) => {
          const projects = await listQuotas(cache, { limit, after });
          return { projects, next: projects.length < limit ? null : (projects.at(-1)?.projectId ?? null) };
        },
        (found) => {
          showList(found, ofProjects, shared);
          noteNextPage(found.next, shared);
        },
      );
    },
  );
}

function givenIn(options: Typed): Given {
  const given = (name: QuotaName): [QuotaName, number | null | 'default'][] => {
    const limit = options[name];
    return limit === undefined ? [] : [[name, limit === 'unlimited' ? null : limit]];
  };
  return Object.fromEntries(quotaNames.flatMap(given));
}

/** 0 too. */
function parseLimitBytes(text: string): number {
  return text === '0' ? 0 : parseBytes(text);
}

function limitOf(parse: (text: string) => number): (text: string) => number | 'unlimited' | 'default' {
  return (text) => {
    if (text === 'default' || text === 'unlimited') return text;
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof InvalidArgumentError)) throw error;
      throw new InvalidArgumentError(`${error.message.replace(/\.$/, '')}, unlimited or default.`);
    }
  };
}

const view = { id: 'projectId', text: describe };

function describe({ projectId, quotas }: ProjectQuotas): string[] {
  const rows = quotaNames.map((name) => {
    const { limit, used, setBy, setAt } = quotas[name];
    const by = setBy === null ? 'configuration' : `${setBy}${setAt === null ? '' : ` at ${formatInstant(setAt)}`}`;
    return [name, formatLimit(name, limit), used === null ? '-' : format(name, used), by];
  });
  return [`project ${projectId}`, '', ...formatTable(['QUOTA', 'LIMIT', 'USED', 'SET BY'], rows)];
}

const ofProjects: ListView<ProjectQuotas> = {
  list: 'projects',
  id: 'projectId',
  columns: [
    'projectId',
    ...quotaNames.map((name) => ({
      name: `quotas.${name}`,
      of: ({ quotas }: ProjectQuotas) => describeUse(name, quotas[name]),
    })),
  ],
  empty: 'no projects',
};

function describeUse(name: QuotaName, { limit, used }: ProjectQuota): string {
  return used === null ? formatLimit(name, limit) : `${format(name, used)} of ${formatLimit(name, limit)}`;
}

function formatLimit(name: QuotaName, limit: number | null): string {
  return limit === null ? 'unlimited' : format(name, limit);
}

function format(name: QuotaName, value: number): string {
  return name === 'volumes' || name === 'snapshots' ? String(value) : formatBytes(value);
}
