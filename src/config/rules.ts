import { validateHeaderName } from 'node:http'
import { hopByHopHeaders } from '../lib/hop-by-hop.ts'

/** A rule that was broken: the key it is about and what to do. */
export type Finding = { readonly path: readonly string[]; readonly message: string }

type Plain = Readonly<Record<string, unknown>>
type Findings = { problem(path: string, message: string): void; warning: Findings['problem'] }

/**
 * Checks what no key can check alone. It works on plain values from before the schema, so that
 * these findings appear together with the problems of single keys.
 */
export function checkRules(plain: Plain): { problems: Finding[]; warnings: Finding[] } {
  const problems: Finding[] = []
  const warnings: Finding[] = []
  const findings: Findings = {
    problem: (path, message) => void problems.push({ path: path.split('.'), message }),
    warning: (path, message) => void warnings.push({ path: path.split('.'), message }),
  }
  const http = sectionAt(plain, 'http')
  checkListener(http, findings)
  checkTls(http, findings)
  checkHeaders(http, plain['cors'] !== undefined, findings)
  checkUpstream(plain['upstream'], findings)
  checkAuth(sectionAt(plain, 'auth'), findings)
  checkCors(sectionAt(plain, 'cors'), findings)
  return { problems, warnings }
}

function checkListener(http: Plain, { problem }: Findings): void {
  if (textAt(http, 'net') === 'unix' && http['addr'] === undefined) {
    problem('http.addr', 'missing: with http.net unix it is the path of the socket')
  }
}

function checkTls(http: Plain, { problem, warning }: Findings): void {
  const tls = sectionAt(http, 'tls')
  if (Object.keys(tls).length === 0) return
  for (const key of ['certificate', 'key']) {
    if (tls[key] !== undefined) continue
    problem(`http.tls.${key}`, 'missing: http.tls needs both certificate and key, as PEM files')
  }
  if (textAt(tls, 'clientauth').includes('verify') && tls['clientcas'] === undefined) {
    problem('http.tls.clientcas', 'missing: http.tls.clientauth has no authority to verify with')
  }
  if (textAt(tls, 'minimumtls') === 'tls1.3' && tls['ciphersuites'] !== undefined) {
    warning('http.tls.ciphersuites', 'no effect with minimumtls tls1.3: its suites are fixed')
  }
}

function checkHeaders(http: Plain, hasCors: boolean, { problem, warning }: Findings): void {
  const seen = new Set<string>()
  for (const name of Object.keys(sectionAt(http, 'headers'))) {
    const path = `http.headers.${name}`
    const lower = name.toLowerCase()
    if (!isHeaderName(name)) problem(path, 'this is not a valid header name')
    if (seen.has(lower)) problem(path, 'this header is given twice, in different case')
    if (hopByHopHeaders.has(lower) || lower === 'content-length')
      problem(path, 'this header is written by the server itself')
    seen.add(lower)
    if (!lower.startsWith('access-control-')) continue
    if (hasCors) problem(path, 'remove it: cors already writes the Access-Control-* headers')
    else {
      const example = 'cors: {origins: [https://ui.example]}'
      warning(path, `browsers are better served by \`${example}\`, which answers preflights too`)
    }
  }
}

function isHeaderName(name: string): boolean {
  try {
    validateHeaderName(name)
    return true
  } catch {
    return false
  }
}

function checkUpstream(upstream: unknown, { problem, warning }: Findings): void {
  if (typeof upstream === 'string') return
  const section = isPlain(upstream) ? upstream : {}
  const url = section['url']
  if (url === undefined) {
    problem(
      'upstream.url',
      'missing: this version has no embedded registry, so name the one to forward to, as in `upstream: {url: http://registry:5000}` or REGISTRY_UPSTREAM_URL=http://registry:5000',
    )
  }
  const tls = sectionAt(section, 'tls')
  const { certificate, key } = tls
  if ((certificate === undefined) !== (key === undefined)) {
    const absent = certificate === undefined ? 'certificate' : 'key'
    problem(
      `upstream.tls.${absent}`,
      'missing: a client certificate needs its key, and a key its certificate',
    )
  }
  if (Object.keys(tls).length > 0 && typeof url === 'string' && !/^https:/i.test(url)) {
    warning('upstream.tls', 'no effect: upstream.url does not begin with https://')
  }
}

function checkAuth(auth: Plain, { problem }: Findings): void {
  const methods = Object.keys(auth)
  if (methods.length > 1) problem('auth', `choose one of ${methods.join(', ')}`)
}

function checkCors(cors: Plain, { problem }: Findings): void {
  const { origins } = cors
  const list = Array.isArray(origins) ? origins : textAt(cors, 'origins').split(/\s*,\s*/)
  if (list.includes('*') && /^(true|yes|on|y)$/i.test(textAt(cors, 'credentials'))) {
    problem(
      'cors.credentials',
      'true does not go with origin *, which would hand every web site the user’s login: list the exact origins',
    )
  }
}

function sectionAt(parent: Plain, key: string): Plain {
  const value = parent[key]
  return isPlain(value) ? value : {}
}

function textAt(parent: Plain, key: string): string {
  const value = parent[key]
  return typeof value === 'string' ? value.toLowerCase().trim() : ''
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
