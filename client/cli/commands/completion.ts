import { Argument, type Command } from 'commander';
import { bashCompletion, fishCompletion, zshCompletion } from '../completion-scripts';
import { printText } from '../output/print';

const scripts = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('print what makes a shell complete commands and options: source <(ivc completion bash)')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(scripts)))
    .action((shell: keyof typeof scripts) => printText(scripts[shell](program)));
}
