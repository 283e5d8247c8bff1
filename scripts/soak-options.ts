import { Command, InvalidArgumentError } from 'commander'

type Soak = {
  readonly name: string
  readonly description: string
  readonly unit: 'seconds' | 'minutes'
  /** How long it takes unless told otherwise, in `unit`. */
  readonly usual: number
}

/** How long to run, in the unit of the soak, and where the random numbers begin. Ends the process with
 *  a line of why on anything else, and with the help that was asked for. */
export function soakOptions({ name, description, unit, usual }: Soak): {
  readonly length: number
  readonly seed: number
} {
  const command = new Command(name)
    .description(description)
    .argument(`[${unit}]`, 'how long to run', wholeNumber, usual)
    .argument(
      '[seed]',
      'where the random numbers begin: one that was printed repeats its run',
      wholeNumber,
    )
    .parse()
  // What `wholeNumber` returned.
  const [length = usual, seed = 1 + (Date.now() % 2 ** 31)] = command.processedArgs as number[]
  return { length, seed }
}

function wholeNumber(text: string): number {
  if (!/^[1-9][0-9]{0,9}$/.test(text))
    throw new InvalidArgumentError('It must be a whole number above 0.')
  return Number(text)
}
