import { validateHeaderName } from 'node:http'
import { isIP } from 'node:net'
import { hopByHopHeaders } from '../lib/hop-by-hop.ts'
import { splitItems } from './fields.ts'
import { defaultTokenPaths } from './schema.ts'
import { type ListenAddress, parseListenAddress } from './values.ts'

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
  checkListeners(http, findings)
  checkUnused(plain, findings)
  checkTls(http, findings)
  checkHeaders(http, plain['cors'] !== undefined, findings)
  checkUpstream(plain['upstream'], findings)
  checkUpstreamTls(sectionAt(plain, 'upstream'), findings)
  checkAuth(plain, findings)
  checkCors(sectionAt(plain, 'cors'), findings)
  return { problems, warnings }
}

function checkListeners(http: Plain, { problem }: Findings): void {
  if (textAt(http, 'net') === 'unix') {
    if (http['addr'] !== undefined) return
    problem('http.addr', 'missing: with http.net unix it is the path of the socket')
    return
  }
  const main = addressAt(http, ':5000')
  const debug = addressAt(sectionAt(http, 'debug'))
  if (main !== undefined && debug !== undefined && overlaps(main, debug)) {
    problem('http.debug.addr', 'http.addr listens there already: choose another port')
  }
}

/** The listen address of a section; undefined when there is none, or one that the schema refuses. */
function addressAt(parent: Plain, otherwise?: string): ListenAddress | undefined {
  const text = parent['addr'] ?? otherwise
  if (typeof text !== 'string') return undefined
  try {
    return parseListenAddress(text)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function overlaps(a: ListenAddress, b: ListenAddress): boolean {
  if ('path' in a || 'path' in b) return 'path' in a && 'path' in b && a.path === b.path
  if (a.port !== b.port || a.port === 0) return false
  return a.host === b.host || covers(a.host, b.host) || covers(b.host, a.host)
}

/** True when a listener at `host` takes the ports of `other` too. */
function covers(host: string | undefined, other: string | undefined): boolean {
  if (host === undefined || host === '::') return true
  return host === '0.0.0.0' && other !== undefined && isIP(other) !== 6
}

/** Keys that do nothing, alone or beside others. */
function checkUnused(plain: Plain, { warning }: Findings): void {
  const http = sectionAt(plain, 'http')
  if (http['secret'] !== undefined) {
    warning(
      'http.secret',
      'no effect: upload URLs carry no state of ours that would need a signature',
    )
  }
  if (http['host'] !== undefined && isOn(http, 'relativeurls')) {
    warning('http.relativeurls', 'no effect beside http.host, with which every Location begins')
  }
  if (plain['upstream'] !== undefined) {
    for (const key of ['storage', 'catalog', 'tags'].filter((name) => plain[name] !== undefined)) {
      warning(
        key,
        'no effect: Tidegate stores nothing itself, and the registry at upstream.url has its own settings for this',
      )
    }
  }
  const paths = listAt(sectionAt(plain, 'upstream'), 'tokenpaths')
  if (paths.length === 0 || paths.join() === defaultTokenPaths.join()) return
  if (sectionAt(plain, 'auth')['htpasswd'] !== undefined) {
    warning(
      'upstream.tokenpaths',
      'no effect beside auth.htpasswd, which asks for passwords itself',
    )
  } else if (!passesCredentials(plain)) {
    warning('upstream.tokenpaths', 'no effect without `authorization: pass` beside it')
  }
}

function checkTls(http: Plain, { problem, warning }: Findings): void {
  const tls = sectionAt(http, 'tls')
  if (Object.keys(tls).length === 0) return
  for (const key of ['certificate', 'key']) {
    if (tls[key] !== undefined) continue
    problem(`http.tls.${key}`, 'missing: http.tls needs both certificate and key, as PEM files')
  }
  if (tls['clientauth'] !== undefined && listAt(tls, 'clientcas').length === 0) {
    problem(
      'http.tls.clientcas',
      'missing: without authorities no client is asked for a certificate, whatever http.tls.clientauth says',
    )
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

function checkUpstream(upstream: unknown, { problem }: Findings): void {
  if (upstream === undefined || typeof upstream === 'string') return
  const section = isPlain(upstream) ? upstream : {}
  if (section['url'] === undefined) {
    problem(
      'upstream.url',
      'missing: name the registry to forward to, as in `upstream: {url: http://registry:5000}` or REGISTRY_UPSTREAM_URL=http://registry:5000, or leave out `upstream` to be the registry',
    )
  }
  const authorization = sectionAt(section, 'authorization')
  const isUser = Object.keys(authorization).length > 0
  for (const key of isUser ? ['username', 'passwordfile'] : []) {
    if (authorization[key] !== undefined) continue
    problem(
      `upstream.authorization.${key}`,
      'missing: a user for the backend needs username and passwordfile, a file that holds the password',
    )
  }
}

function checkUpstreamTls({ url, ...section }: Plain, { problem, warning }: Findings): void {
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

function checkAuth(plain: Plain, { problem, warning }: Findings): void {
  const methods = Object.keys(sectionAt(plain, 'auth'))
  if (methods.length > 1) problem('auth', `choose one of ${methods.join(', ')}`)
  if (methods.length > 0 || passesCredentials(plain) || verifiesClients(plain)) return
  warning(
    'auth',
    'nobody is asked for a password: whoever reaches this port may push, pull and delete; configure htpasswd, or write `auth: none` to say so',
  )
}

/** The backend decides who may come in. */
function passesCredentials(plain: Plain): boolean {
  return textAt(sectionAt(plain, 'upstream'), 'authorization') === 'pass'
}

/** Nobody comes in without a certificate from one of the authorities. */
function verifiesClients(plain: Plain): boolean {
  const tls = sectionAt(sectionAt(plain, 'http'), 'tls')
  const mode = textAt(tls, 'clientauth') || 'require-and-verify-client-cert'
  return listAt(tls, 'clientcas').length > 0 && mode === 'require-and-verify-client-cert'
}

function checkCors(cors: Plain, { problem }: Findings): void {
  if (listAt(cors, 'origins').includes('*') && isOn(cors, 'credentials')) {
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

/** The items of a list in either form. */
function listAt(parent: Plain, key: string): readonly unknown[] {
  const value = parent[key]
  if (typeof value === 'string') return splitItems(value)
  return Array.isArray(value) ? value : []
}

function isOn(parent: Plain, key: string): boolean {
  return /^(true|yes|on|y)$/.test(textAt(parent, key))
}

function textAt(parent: Plain, key: string): string {
  const value = parent[key]
  return typeof value === 'string' ? value.toLowerCase().trim() : ''
}

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
