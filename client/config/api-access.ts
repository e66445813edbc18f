import { splitAddress } from '../../lib/listen-address';
import { ConfigError, type ConfigIssue } from './config-error';
import type { LoadedConfig, ResolvedConfig } from './load';

type Identity = NonNullable<ResolvedConfig['identity']>;

/** How the block-storage API knows its callers: by tokens of a Keystone, or not at all. */
export type ApiAccess = { auth: 'none' } | { auth: 'keystone'; identity: Identity };

/** @throws ConfigError for what of the configuration forbids that the API serves. */
export function requireApiAccess({
  config,
  path,
  sources,
}: Pick<LoadedConfig, 'config' | 'path' | 'sources'>): ApiAccess {
  const { api, identity } = config;
  const refused = (issue: ConfigIssue) => new ConfigError(path, [{ ...issue, variable: sources[issue.path] }]);
  const auth = api.auth ?? (identity === undefined ? 'none' : 'keystone');
  if (auth === 'none') {
    if (isLoopback(splitAddress(api.listen).host)) return { auth };
    const allowed = 'a loopback address where nobody is asked for a token (api.auth: none)';
    throw refused({ path: 'api.listen', received: api.listen, allowed });
  }
  if (identity !== undefined) return { auth, identity };
  const allowed = 'an account at Keystone, which validates tokens (api.auth: keystone)';
  throw refused({ path: 'identity', received: 'nothing', allowed });
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}
