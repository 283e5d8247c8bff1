// AES-128-GCM first: what registry clients run on has AES instructions, where it is the fastest.
const tls13Suites = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
]

/** Forward secret and authenticated: ECDHE with an AEAD, for both kinds of certificate. RFC 9325 4.2. */
const tls12Suites = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
]

/**
 * The `ciphers` option for `http.tls.ciphersuites` (OpenSSL names; empty means the safe default).
 * Suites of TLS 1.3 stay on when only TLS 1.2 ones are listed, as in registry:2, where the list
 * does not touch TLS 1.3; without them Node would turn TLS 1.3 off.
 */
export function cipherList(suites: readonly string[]): string {
  if (suites.length === 0) return [...tls13Suites, ...tls12Suites].join(':')
  const lists13 = suites.some((suite) => suite.startsWith('TLS_'))
  return [...(lists13 ? [] : tls13Suites), ...suites].join(':')
}
