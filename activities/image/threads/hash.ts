import { constants, createHash, createVerify } from 'node:crypto';
import { workerData } from 'node:worker_threads';
import type { HashMessage, HashWork } from '../hash-thread';
import { answerMessages } from '../thread';

const { algorithm, signature } = workerData as HashWork;
const hash = algorithm === undefined ? undefined : createHash(algorithm);
const verify = signature && createVerify(signature.algorithm);

answerMessages((message: HashMessage): string | boolean | undefined => {
  if (message === 'digest') return hash?.digest('hex');
  if (message === 'isSigned') return isSigned();
  const bytes = new Uint8Array(message.block, 0, message.lengthBytes);
  hash?.update(bytes);
  verify?.update(bytes);
  return undefined;
});

function isSigned(): boolean | undefined {
  if (signature === undefined || verify === undefined) return undefined;
  const { publicKey: key, saltLengthBytes: saltLength } = signature;
  const pss = saltLength === undefined ? {} : { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
  try {
    return verify.verify({ key, ...pss }, signature.signature);
  } catch (error) {
    // Input that OpenSSL cannot even begin with, such as a hash that the key does not allow, is no signature.
    if (String((error as NodeJS.ErrnoException).code).startsWith('ERR_OSSL')) return false;
    throw error;
  }
}
