import { escapeHtml } from './cells';

export type Column = string | { name: string; number: true };

/** What is an id rather than a word: a UUID, a path of slashes. */
const idPattern = /^(?:[0-9a-f]{8}-[0-9a-f-]{27}(?: |$))+|^\w+\/\S+$/;

export function formatHtmlTable(columns: readonly Column[], rows: readonly string[][]): string {
  const classOf = (index: number) => (typeof columns[index] === 'object' ? ' class="number"' : '');
  const head = columns.map(
    (column, index) => `<th${classOf(index)}>${escapeHtml(typeof column === 'string' ? column : column.name)}</th>`,
  );
  const body = rows.map(
    (row) => `<tr>${row.map((text, index) => `<td${classOf(index)}>${cell(text)}</td>`).join('')}</tr>`,
  );
  return `<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('\n')}</tbody></table></div>`;
}

function cell(text: string): string {
  return idPattern.test(text) ? `<code>${escapeHtml(text)}</code>` : escapeHtml(text);
}
