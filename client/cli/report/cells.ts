/** `2026-01-31 14:05`, in UTC. */
export function formatInstant(at: string): string {
  return at.slice(0, 16).replace('T', ' ');
}

export function orDash(text: string | null): string {
  return text === null || text === '' ? '-' : text;
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text as HTML that says exactly that, in an element and in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => escapes[character] ?? '');
}
