import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { slowly, type StrikingFault } from './faults';
import { readBody } from './http';

/** An upload's bytes with the fault worked in: `cut`, `stall`, `wrong-bytes`, and the rate of all kinds. */
export async function* spoiledUpload(request: IncomingMessage, fault: StrikingFault): AsyncGenerator<Buffer> {
  const { kind, afterBytes, untilCleared } = fault;
  let received = 0;
  for await (const chunk of slowly(readBody(request), fault)) {
    const left = afterBytes - received;
    received += chunk.length;
    const isHere = left >= 0 && left < chunk.length;
    if (isHere && kind === 'wrong-bytes') chunk.writeUInt8(chunk.readUInt8(left) ^ 0xff, left);
    if (isHere && (kind === 'cut' || kind === 'stall')) {
      if (kind === 'stall') await Promise.race([once(request, 'close'), untilCleared]);
      request.destroy();
      throw new Error(`a fault has cut the upload at byte ${afterBytes}`);
    }
    yield chunk;
  }
}
