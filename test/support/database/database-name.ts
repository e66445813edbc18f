/** @returns the URI of another database on the same server, for the same user. */
export function withDatabaseName(url: string, database: string): string {
  const [, server = '', query = ''] = /^(postgres(?:ql)?:\/\/[^/?]*)[^?]*(.*)$/.exec(url) ?? [];
  return `${server}/${encodeURIComponent(database)}${query}`;
}
