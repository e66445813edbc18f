import type { Command } from 'commander';

/** `ivc help volume create`: commander's own knows one word. */
export function registerHelp(program: Command): void {
  program
    .helpCommand(false)
    .command('help')
    .description('show the help of a command')
    .argument('[command...]', 'its words, such as volume create')
    .action((words: string[]) => {
      let command = program;
      for (const word of words) {
        const found = command.commands.find((child) => child.name() === word);
        command = found ?? command.error(`error: unknown command '${word}'`);
      }
      command.outputHelp();
    });
}
