import { formatReport } from '../../../../client/cli/quickstart/report';
import { brand } from '../../../support/brand';

/** As many columns as most terminals have. */
const COLUMNS = 80;

const imageId = 'aa7c5b7b-2fb4-478e-a21d-f37179757fa0';
const reason = 'another create populated the image already: this one waited for it';
const volumes = ['fc71456d-3010-448a-8001-b28547994cee', 'fc71456d-9999-448a-8001-b28547994cee'].map((volumeId) => ({
  volumeId: brand<string>(volumeId),
  imageId,
  outcome: 'joined',
  reason,
  ms: 12_345,
  bytesDownloaded: 50_646_221,
  connection: { driver: 'file' as const, path: '/v', format: 'qcow2' as const },
}));
const images = [{ imageId, name: 'sample', sizeBytes: 50_646_221, downloads: 1, populations: 1 }];

test('on a terminal of 80 columns the table of the quickstart has every word of a reason, and the next steps fit', () => {
  const { isTTY, columns } = process.stdout;
  Object.assign(process.stdout, { isTTY: true, columns: COLUMNS });
  try {
    const lines = formatReport(
      { images, volumes, temporalUi: undefined, blockStorageApi: undefined },
      { stays: false, dataFlag: '' },
    );
    const table = lines.slice(1, lines.indexOf('', 1));
    expect(Math.max(...table.map((line) => line.length))).toBeLessThanOrEqual(COLUMNS);
    expect(table.join(' ')).not.toContain('…');
    expect(table.filter((line) => /^fc71456d-\w/.test(line))).toHaveLength(volumes.length);
    expect(lines.filter((line) => line.length > COLUMNS)).toEqual([]);
    expect(table[1]).toMatch(/ {2}joined {3}12\.3 s {2}48\.3 MiB {4}another create/);
  } finally {
    Object.assign(process.stdout, { isTTY, columns });
  }
});
