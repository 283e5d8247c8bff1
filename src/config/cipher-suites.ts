/** Suites that are offered: forward secrecy and an AEAD cipher. IANA name (registry:2) to OpenSSL name. */
const suites: ReadonlyMap<string, string> = new Map([
  ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
  ['TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ['TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256', 'ECDHE-RSA-CHACHA20-POLY1305'],
  ['TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
  ['TLS_AES_256_GCM_SHA384', 'TLS_AES_256_GCM_SHA384'],
  ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
])
const openSslNames: ReadonlySet<string> = new Set(suites.values())

/** The OpenSSL name of a suite given by its IANA or OpenSSL name. @throws RangeError if not offered */
export function parseCipherSuite(name: string): string {
  const upper = name.toUpperCase()
  const openSslName = suites.get(upper) ?? (openSslNames.has(upper) ? upper : undefined)
  if (openSslName !== undefined) return openSslName
  throw new RangeError(
    `${name} is not offered (unknown, or without forward secrecy or authenticated encryption); use ${[...suites.keys()].slice(0, 4).join(', ')}`,
  )
}
