import { createSharedTransfers } from '../../../../activities/image/shared-transfers';
import type { ProgressReporter } from '../../../../activities/progress';
import { Failure } from '../../../../workflows/contract/failures';

const reporter: ProgressReporter = { signal: new AbortController().signal, report: () => undefined };
const downloaded = { bytes: 5, bytesDownloaded: 5, seconds: 1 };

describe('transfers of the same bytes', () => {
  it('do not share what is wrong with the image of one of them alone', async () => {
    const transfers = createSharedTransfers();
    const gone = transfers.join('key', reporter, () =>
      Promise.reject(new Failure('ImageNotFound', { imageId: 'one' })),
    );
    const other = transfers.join('key', reporter, () => Promise.resolve(downloaded));
    await expect(gone).rejects.toMatchObject({ type: 'ImageNotFound' });
    expect(await other).toEqual({ result: downloaded, shared: false });
  });

  it('share what passes', async () => {
    const transfers = createSharedTransfers();
    const failure = new Failure('ImageServiceUnavailable', { service: 'here', cause: 'busy' });
    const first = transfers.join('key', reporter, () => Promise.reject(failure));
    const second = transfers.join('key', reporter, () => Promise.resolve(downloaded));
    await expect(first).rejects.toBe(failure);
    await expect(second).rejects.toBe(failure);
  });
});
