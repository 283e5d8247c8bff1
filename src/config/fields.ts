import * as z from 'zod'
import {
  parseCount,
  parseLine,
  parseListenAddress,
  parseSwitch,
  parseTimeLimit,
  parseTimer,
} from './values.ts'

// Every scalar arrives as the text that stands in the file or the variable, so that `secret: 012`
// stays what was written and each key decides alone what its text means (see document.ts).

/** A scalar: its text in the configuration, parsed by `parse`, whose RangeError is the problem. */
export function scalar<T>(type: string, parse: (text: string) => T) {
  return z
    .string({ error: `expected ${type}` })
    .transform((text, context) => {
      try {
        return parse(text)
      } catch (error) {
        if (!(error instanceof RangeError)) throw error
        context.addIssue(error.message)
        return z.NEVER
      }
    })
    .meta({ type })
}

/** One of the given words, in any case. `refused` explains words that registry:2 takes and we do not. */
export function choice<const T extends string>(
  words: readonly T[],
  refused: Readonly<Record<string, string>> = {},
) {
  return scalar(words.join(' | '), (text): T => {
    const word = words.find((candidate) => candidate === text.toLowerCase())
    if (word !== undefined) return word
    throw new RangeError(refused[text.toLowerCase()] ?? `expected one of ${words.join(', ')}`)
  })
}

/** A YAML list, or one scalar that holds the items with commas between them (for variables). */
export function list<T extends z.ZodType>(item: T) {
  return z.preprocess(
    (input) => (typeof input === 'string' ? splitItems(input) : input),
    z.array(item, { error: 'expected a list' }),
  )
}

/** The items of the comma form of a list. */
export function splitItems(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

/** A section: its keys and nothing else. */
export function section<T extends z.core.$ZodShape>(shape: T) {
  const keys = Object.keys(shape).join(', ')
  return z.strictObject(shape, { error: `expected a section with keys such as ${keys}` })
}

export const path = scalar('path', (text) => text)
export const line = scalar('text', parseLine)
export const secret = scalar('text (secret)', (text) => text)
export const bool = scalar('true | false', parseSwitch)
export const duration = scalar('duration', parseTimer)
export const timeLimit = scalar('duration', parseTimeLimit)
export const address = scalar('address', parseListenAddress)
export const count = scalar('number', parseCount)
