import type { ImageVolumeCache } from '../../connection';
import { checkIdentity } from './account';
import { checkApi } from './block-storage';
import { exitCodeOfFindings, type DoctorFinding } from './check';
import { checkBackends, checkConfiguration, checkConfinement, checkDatabase, checkImages, checkTools } from './parts';
import { checkImageRights } from './rights';
import { checkTemporal } from './temporal';
import { checkSignatures } from './trusted-signers';

/** Every check of an installation whose configuration could be read. */
export async function examine(cache: ImageVolumeCache): Promise<{ findings: DoctorFinding[]; exitCode: number }> {
  const findings = await examineAll(cache);
  return { findings, exitCode: exitCodeOfFindings(findings) };
}

async function examineAll(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  const backends = Object.keys(cache.settings.loaded.config.backends);
  const parts = await Promise.all([
    checkTemporal(cache, backends),
    checkDatabase(cache),
    checkIdentity(cache),
    checkImages(cache),
    checkImageRights(cache),
    checkTools(),
    checkConfinement(cache),
    checkBackends(cache),
    checkApi(cache),
  ]);
  return [checkConfiguration(cache), checkSignatures(cache), ...parts.flat()];
}
