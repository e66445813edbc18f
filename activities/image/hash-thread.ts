import { startThread } from './thread';

/** A hash on a thread of its own: sha512 is the wall of one core, so it runs beside the network and the disk. */
export interface HashThread {
  /** Hashes the first `lengthBytes` of `block`, which must stay as it is until then; calls take effect in their order. */
  update(block: SharedArrayBuffer, lengthBytes: number): Promise<void>;
  /** @returns the hash so far in hex, once; nothing can be added then. */
  digest(): Promise<string>;
  close(): Promise<void>;
}

/** What `threads/hash.ts` gets. */
export type HashMessage = { block: SharedArrayBuffer; lengthBytes: number } | 'digest';

/** @param algorithm a name that node:crypto knows. */
export function startHashThread(algorithm: string): HashThread {
  const { ask, close } = startThread<HashMessage, string | undefined>('hash', { algorithm });
  return {
    update: async (block, lengthBytes) => void (await ask({ block, lengthBytes })),
    digest: async () => (await ask('digest')) ?? '',
    close,
  };
}
