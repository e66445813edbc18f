import { exitCodeOfFindings, fault, runCheck, ok, skipped, warning } from '../../../../../client/cli/doctor/check';
import { failureError, ImageVolumeCacheError } from '../../../../../client/errors';

describe('exitCodeOf', () => {
  it('is 0 while nothing is worse than a warning', () => {
    expect(exitCodeOfFindings([ok('a', ''), warning('b', '', ''), skipped('c', '')])).toBe(0);
  });

  it('is 1 for what is set up wrong and 5 as soon as a part does not answer', () => {
    expect(exitCodeOfFindings([ok('a', ''), fault('b', '', '')])).toBe(1);
    expect(exitCodeOfFindings([fault('a', '', ''), { ...fault('b', '', ''), unavailable: true }])).toBe(5);
  });
});

describe('runCheck', () => {
  it('hands on what was seen', async () => {
    await expect(runCheck('a', 'fix it', () => Promise.resolve(ok('a', 'fine')))).resolves.toEqual([ok('a', 'fine')]);
  });

  it('turns what is thrown into a fault with its remedy', async () => {
    const findings = await runCheck('qemu-img', 'install it', () => Promise.reject(new Error('ENOENT')));
    expect(findings).toEqual([
      { check: 'qemu-img', state: 'fault', found: 'ENOENT', remedy: 'install it', unavailable: false },
    ]);
  });

  it.each([
    [failureError('DatabaseUnavailable', { cause: 'refused' })],
    [new ImageVolumeCacheError({ type: 'TemporalUnavailable', message: 'does not answer' })],
    [new ImageVolumeCacheError({ type: 'NotConfigured', message: 'nobody named it' })],
  ])('knows that a part does not answer: %s', async (error) => {
    const findings = await runCheck('part', 'start it', async () => {
      throw error;
    });
    expect(exitCodeOfFindings(findings)).toBe(5);
  });
});
