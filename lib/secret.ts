import { inspect } from 'node:util';

const HIDDEN = '[secret]';

/** A password or a token. No log, error, history or document shows it: only `reveal` gives it, for the wire. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  equals(other: Secret): boolean {
    return this.#value === other.#value;
  }

  /** @returns `text` without the secret, for what a foreign service says of a request that held it. */
  removeFrom(text: string): string {
    return this.#value === '' ? text : text.replaceAll(this.#value, HIDDEN);
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
