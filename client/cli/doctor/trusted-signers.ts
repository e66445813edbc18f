import { errorMessage } from '../../../lib/error-message';
import { readTrustStore, type TrustStore } from '../../../lib/trust-store';
import { plural } from '../../../workflows/contract/words';
import type { ImageVolumeCache } from '../../connection';
import { fault, ok, warning, type DoctorFinding } from './check';

const CHECK = 'image signatures';
const DAY_MS = 86_400_000;
/** A certificate that ends sooner deserves a warning. */
const SOON_DAYS = 30;

/** The trust store as a worker with this configuration reads it, and as it holds at this moment. */
export function checkSignatures({ settings }: Pick<ImageVolumeCache, 'settings'>): DoctorFinding {
  const { require, certificates, authorities } = settings.loaded.config.policy.signatures;
  if (require === 'off' || certificates === undefined) return ok(CHECK, 'not verified');
  try {
    return examine(readTrustStore({ certificates, authorities }), require);
  } catch (error) {
    return fault(CHECK, errorMessage(error), 'correct policy.signatures; no worker starts until then');
  }
}

function examine(store: TrustStore, require: string): DoctorFinding {
  const found = `required ${require}, ${plural(store.ids.length, 'certificate')}`;
  const problems = store.ids.flatMap((id) => {
    const signer = store.find(id);
    if (signer.kind !== 'trusted') return [`${id}, ${signer.problem}`];
    const daysLeft = Math.floor(((store.endOf(id) ?? Infinity) - Date.now()) / DAY_MS);
    return daysLeft < SOON_DAYS ? [`${id}, which ends in ${plural(daysLeft, 'day')}`] : [];
  });
  if (store.ids.length === 0) return warning(CHECK, found, 'add the certificates of those who sign images');
  if (problems.length === 0) return ok(CHECK, found);
  const remedy = 'renew it, or correct policy.signatures.authorities, and restart the workers';
  return warning(CHECK, `${found}: ${problems.join('; ')}`, remedy);
}
