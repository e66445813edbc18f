import { requireApiAccess } from '../../config/api-access';
import { readApiTls } from '../../config/api-tls';
import { ConfigError } from '../../config/config-error';
import type { ImageVolumeCache } from '../../connection';
import { errorMessage } from '../../../lib/error-message';
import { fault, ok, warning, type DoctorFinding } from './check';

const CHECK = 'block-storage API';
const TIMEOUT_MS = 5000;
/** A certificate that ends sooner deserves a warning. */
const SOON_MS = 30 * 86_400_000;

/** Whether the API could serve with this configuration, and whether the one of the running stack answers. */
export async function checkApi({ settings }: Pick<ImageVolumeCache, 'settings'>): Promise<DoctorFinding> {
  const { loaded, endpoints } = settings;
  const { listen } = loaded.config.api;
  try {
    const { auth } = requireApiAccess(loaded);
    const tls = readApiTls(loaded);
    const callers = `${auth === 'none' ? 'everybody without a token' : "callers with Keystone's tokens"}${tls ? ', by TLS' : ''}`;
    if (tls !== undefined && tls.endsAt.getTime() < Date.now() + SOON_MS)
      return warning(
        CHECK,
        `its certificate ends at ${tls.endsAt.toISOString()}`,
        'renew it: the API reads it again by itself',
      );
    if (endpoints?.api === undefined) return ok(CHECK, `would serve ${callers} on ${listen} (\`ivc up\`, \`ivc api\`)`);
    // Whose certificate it shows, and which it wants of us, is for its clients to know.
    return tls === undefined
      ? await ask(endpoints.api.url, callers)
      : ok(CHECK, `${endpoints.api.url}, serves ${callers}`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return fault(CHECK, error.message, 'correct it; the API does not start until then');
  }
}

async function ask(url: string, callers: string): Promise<DoctorFinding> {
  try {
    const { status } = await fetch(`${url}/healthcheck`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (status === 200) return ok(CHECK, `${url}, serves ${callers}`);
    return fault(CHECK, `${url} answers ${status}`, 'logs/api.log in the data directory says why');
  } catch (error) {
    const silent = fault(CHECK, `${url} does not answer: ${errorMessage(error)}`, '`ivc down`, then `ivc up`');
    return { ...silent, unavailable: true };
  }
}
