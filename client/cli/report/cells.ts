import { visibleText } from '../../../workflows/contract/visible-text';

/** `2026-01-31 14:05`, in UTC. */
export function formatInstant(at: string): string {
  return at.slice(0, 16).replace('T', ' ');
}

export function orDash(text: string | null): string {
  return text === null || text === '' ? '-' : text;
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text as HTML that says exactly that, in an element and in a quoted attribute; what would reorder the text around it is shown as an escape. */
export function escapeHtml(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (character) => escapes[character] ?? '');
}
