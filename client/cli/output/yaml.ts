import { Document, visit } from 'yaml';
import { visibleJson } from '../../../workflows/contract/visible-text';

/** @returns `value` as YAML in which, as in our JSON, control characters and what reorders text are escapes. */
export function toYaml(value: unknown): string {
  // Fields without a value are left out, as JSON does.
  const document = new Document(JSON.parse(JSON.stringify(value)));
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value === 'string' && visibleJson(JSON.stringify(node.value)) !== `"${node.value}"`)
        node.type = 'QUOTE_DOUBLE';
    },
  });
  return visibleJson(document.toString({ lineWidth: 0, doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER }));
}
