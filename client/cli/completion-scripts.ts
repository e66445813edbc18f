import type { Command } from 'commander';

/* Completions of shells, made of commander's own tree: commands, options, and the values of options that have choices. */

interface Place {
  /** Words of the command: `volume create`; empty for the program. */
  path: string;
  words: { word: string; short?: string; description: string }[];
  choices: { option: string; values: readonly string[] }[];
}

function placesOf(command: Command, path: string[] = []): Place[] {
  const options = command.options.filter(({ hidden }) => !hidden);
  const flags = options.flatMap(({ short, long, description }) => (long ? [{ word: long, short, description }] : []));
  const commands = command.commands.map((child) => ({ word: child.name(), description: child.description() }));
  const choices = options.flatMap(({ short, long, argChoices }) =>
    [short, long].flatMap((option) => (option && argChoices ? [{ option, values: argChoices }] : [])),
  );
  const place = {
    path: path.join(' '),
    words: [...commands, ...flags, { word: '--help', description: 'show help' }],
    choices,
  };
  return [place, ...command.commands.flatMap((child) => placesOf(child, [...path, child.name()]))];
}

/** Source: https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html */
export function bashCompletion(program: Command): string {
  const places = placesOf(program);
  const paths = places.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  const words = places.map(
    ({ path, words: here }) => `    ${quoted(path)}) words=${quoted(here.map(({ word }) => word).join(' '))} ;;`,
  );
  const values = places.flatMap(({ path, choices }) =>
    choices.map(
      ({ option, values: allowed }) => `    ${quoted(`${path} ${option}`)}) words=${quoted(allowed.join(' '))} ;;`,
    ),
  );
  return `_ivc() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path='' word words=''
  # A bare name there would be a modifier to zsh.
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
    case "\${path:+$path }$word" in
    ${paths.join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${words.join('\n')}
  esac
  case "$path $previous" in
${values.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _ivc ivc
`;
}

/** zsh runs completions of bash. Source: zshcompsys(1), bashcompinit. */
export function zshCompletion(program: Command): string {
  return `autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n${bashCompletion(program)}`;
}

/** Source: https://fishshell.com/docs/current/completions.html */
export function fishCompletion(program: Command): string {
  const places = placesOf(program);
  const paths = places.filter(({ path }) => path !== '').map(({ path }) => quoted(path));
  const lines = places.flatMap(({ path, words, choices }) => {
    const at = `-n "__ivc_at '${path}'"`;
    return words.map(({ word, short, description }) => {
      const values = choices.find(({ option }) => option === word)?.values;
      const what = word.startsWith('--') ? `${short ? `-s ${short.slice(1)} ` : ''}-l ${word.slice(2)}` : `-a ${word}`;
      return `complete -c ivc -f ${at} ${what} -d ${quoted(description)}${values ? ` -x -a ${quoted(values.join(' '))}` : ''}`;
    });
  });
  return `function __ivc_at
  set -l path
  for word in (commandline -opc)[2..-1]
    if contains -- (string join -- ' ' $path $word) ${paths.join(' ')}
      set -a path $word
    end
  end
  set -l at (string join -- ' ' $path)
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
