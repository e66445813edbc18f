import type { SignatureCheck } from './image-signature';
import { startThread } from './thread';

/** A hash on a thread of its own: sha512 is the wall of one core, so it runs beside the network and the disk. */
export interface HashThread {
  /** Hashes the first `lengthBytes` of `block`, which must stay as it is until then; calls take effect in their order. */
  update(block: SharedArrayBuffer, lengthBytes: number): Promise<void>;
  /** @returns the hash so far in hex, once; nothing can be added then. */
  digest(): Promise<string>;
  /** @returns whether the bytes so far have the signature, once; undefined where none was asked for. */
  isSigned(): Promise<boolean | undefined>;
  close(): Promise<void>;
}

/** Results to compute from the same bytes. */
export interface HashWork {
  /** A name that node:crypto knows. */
  algorithm?: string;
  signature?: SignatureCheck;
}

/** Messages to `threads/hash.ts`. */
export type HashMessage = { block: SharedArrayBuffer; lengthBytes: number } | 'digest' | 'isSigned';

export function startHashThread(work: HashWork): HashThread {
  const { ask, close } = startThread<HashMessage, string | boolean | undefined>('hash', work);
  return {
    update: async (block, lengthBytes) => void (await ask({ block, lengthBytes })),
    digest: async () => String((await ask('digest')) ?? ''),
    isSigned: async () => {
      const answer = await ask('isSigned');
      return typeof answer === 'boolean' ? answer : undefined;
    },
    close,
  };
}
