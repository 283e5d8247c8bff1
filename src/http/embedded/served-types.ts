import type { RoutedExchange } from '../exchange.ts'

/** JSON of any kind, which browsers show as text. */
const json = /^application\/(?:.*\+)?json$/i
/** Subtypes that a browser, or something in it, takes for more than a download. */
const active = /html|xml|xsl|svg|script|pdf|flash|wasm|bundle|exchange/i

/**
 * The Content-Type to serve a stored manifest under: its own, unless a browser might render that. Pushes
 * under such types are refused, but another registry may have taken one.
 */
export function servedType(mediaType: string): string {
  const isHarmless = /^application\//i.test(mediaType) && !active.test(mediaType)
  return json.test(mediaType) || isHarmless ? mediaType : 'application/octet-stream'
}

/** The exchange with answers that tell browsers to believe their Content-Type, however `http.headers` says it. */
export function withoutSniffing(exchange: RoutedExchange): RoutedExchange {
  const headers = (): string[] => {
    const own = exchange.headers()
    const isSet = own.some((text, at) => at % 2 === 0 && /^x-content-type-options$/i.test(text))
    return isSet ? own : [...own, 'X-Content-Type-Options', 'nosniff']
  }
  return { ...exchange, headers }
}
