import { waitFor } from '../../../../worker/stack/wait';

const what = 'the end';

test('a check is made again until it finds something, whatever it throws before', async () => {
  let checks = 0;
  const check = (): string | undefined => {
    checks += 1;
    if (checks === 1) throw new Error('not yet');
    return checks === 3 ? 'found' : undefined;
  };
  expect(await waitFor(check, { what, deadlineMs: 60_000, intervalMs: 1 })).toBe('found');
});

test('the deadline holds while a check does not end, and what that throws later is nobody’s', async () => {
  let fail: (error: Error) => void = () => undefined;
  const hanging = new Promise<string>((_, reject) => (fail = reject));
  await expect(waitFor(() => hanging, { what, deadlineMs: 20 })).rejects.toThrow(what);
  fail(new Error('too late'));
});

test('the last error of the checks is told at the deadline', async () => {
  const check = (): undefined => {
    throw new Error('refused');
  };
  await expect(waitFor(check, { what, deadlineMs: 10, intervalMs: 1 })).rejects.toMatchObject({
    message: expect.stringContaining('refused'),
    cause: expect.objectContaining({ message: 'refused' }),
  });
});
