import { code, link, text, workflowPath } from '../../../../workflows/contract/markdown';
it('keeps links, images, HTML, character references and tables of others text', () => {
  expect(text('[a](javascript:b) ![c](d) <img src=x> <http://e> &lt; |f| ~~g~~ `h` _i_ *j*')).toBe(
    '\\[a\\](javascript:b) \\!\\[c\\](d) \\<img src=x\\> \\<http://e\\> \\&lt; \\|f\\| \\~\\~g\\~\\~ \\`h\\` \\_i\\_ \\*j\\*',
  );
});

it('keeps them on one line, and control characters visible', () => {
  expect(text('a\n\n# b\u2028\u001b[31m\u202ec')).toBe('a \\# b \\\\u001b\\[31m\\\\u202ec');
  expect(code('a`\n# b\u202e')).toBe('`a \\n# b\\u202e`');
});

it('ends no link early', () => {
  const id = 'a](http://b) ![c](d)';
  expect(link(id, workflowPath('default', id))).toBe(
    '[a\\](http://b) \\!\\[c\\](d)](/namespaces/default/workflows/a%5D%28http%3A%2F%2Fb%29%20!%5Bc%5D%28d%29)',
  );
});
