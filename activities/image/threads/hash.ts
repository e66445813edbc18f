import { createHash } from 'node:crypto';
import { workerData } from 'node:worker_threads';
import type { HashMessage } from '../hash-thread';
import { answerMessages } from '../thread';

const hash = createHash((workerData as { algorithm: string }).algorithm);

answerMessages((message: HashMessage): string | undefined => {
  if (message === 'digest') return hash.digest('hex');
  hash.update(new Uint8Array(message.block, 0, message.lengthBytes));
  return undefined;
});
