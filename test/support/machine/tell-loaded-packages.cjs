/** Lets a process say at its end, on standard error, how many files of which packages it has loaded: `node --require <this file> script.js`. */
process.on('exit', () => {
  const files = {};
  for (const path of Object.keys(require.cache)) {
    if (path === __filename) continue;
    const [, name = '.'] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path) ?? [];
    files[name] = (files[name] ?? 0) + 1;
  }
  const sorted = Object.fromEntries(
    Object.keys(files)
      .toSorted()
      .map((name) => [name, files[name]]),
  );
  process.stderr.write(`loaded ${JSON.stringify(sorted)}\n`);
});
