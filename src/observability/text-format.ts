/** Line ends and terminal commands to some readers, which JSON leaves as they are. */
const unescapedByJson = /[\x7f-\x9f\u2028\u2029]/g

/**
 * Turns one JSON log line into registry:2's text form, `time=… level=… msg=… key=value …`. Values with
 * spaces, quotes or control characters are quoted as JSON, so that nobody forges a line.
 */
export function formatTextLine(line: string): string {
  const { time, level, msg, ...rest }: Record<string, unknown> = JSON.parse(line)
  const fields = Object.entries({ time, level, msg, ...rest })
  return `${fields.flatMap(([key, value]) => (value === undefined ? [] : `${key}=${formatValue(value)}`)).join(' ')}\n`
}

function formatValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (/^[\w.:/@+*-]+$/.test(text)) return text
  return JSON.stringify(text).replace(unescapedByJson, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
