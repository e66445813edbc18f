import { stat } from 'node:fs/promises';
import { hasCode, isDiskFull, unlessAbsent } from '../../../lib/errno';

const systemError = (code: string): Error => Object.assign(new Error(code), { code });

describe('system errors', () => {
  it('are known by their code', () => {
    expect(hasCode(systemError('EEXIST'), 'ENOENT', 'EEXIST')).toBe(true);
    expect(hasCode(systemError('EEXIST'), 'ENOENT')).toBe(false);
    expect([undefined, null, 'ENOENT', {}].filter((thrown) => hasCode(thrown, 'ENOENT'))).toEqual([]);
  });

  it.each(['ENOSPC', 'EDQUOT'])('%s says that a disk or its quota is full', (code) => {
    expect(isDiskFull(systemError(code))).toBe(true);
  });

  it('that say that a file is absent are an answer, others are thrown', async () => {
    expect(await unlessAbsent(stat('/nowhere/at/all'))).toBeUndefined();
    await expect(unlessAbsent(stat('/dev/null/x'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});
