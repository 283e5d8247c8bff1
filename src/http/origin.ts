import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { RegistryError } from '../lib/errors.ts'
import { headerValues } from '../lib/header-values.ts'

/** Who asks, and under which name they know us. */
export type Origin = {
  readonly scheme: 'http' | 'https'
  /** Host and port that the client used, lower case, without the scheme's default port. */
  readonly authority: string
  readonly clientAddress: string
}

export type OriginRules = {
  /** Fixed public base, e.g. `https://registry.example:8443`; beats everything the request says. */
  readonly host: string | undefined
  /** Accepted Host values, as `name` (any port) or `name:port`; empty accepts all. */
  readonly hosts: readonly string[]
  /** Addresses and CIDR ranges whose forwarding headers are believed; `unix` for peers on a socket file. */
  readonly trustedProxies: readonly string[]
}

/** What a peer on a socket file is called, in RFC 7239's words (section 6.2). */
const unixPeer = 'unknown'

/** A host name, IPv4 or bracketed IPv6 address, with an optional port; RFC 3986 section 3.2. */
const authorityGrammar =
  /^(?:[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9_.])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/

/**
 * Reads a request's origin. A peer outside `trustedProxies` says nothing about scheme, host or client
 * that counts, except its own Host header.
 * @throws REQUEST_INVALID for a missing or malformed Host, MISDIRECTED_REQUEST for one not in `hosts`
 */
export function createOriginReader(rules: OriginRules): (req: IncomingMessage) => Origin {
  const fixed = rules.host === undefined ? undefined : new URL(rules.host)
  const isTrusted = createTrustCheck(rules.trustedProxies)
  const accepted = new Set(rules.hosts)

  return (req) => {
    const peer = normalizeAddress(req.socket.remoteAddress ?? unixPeer)
    const forwarded = isTrusted(peer) ? readForwarded(req) : undefined
    const scheme = forwarded?.scheme ?? ('encrypted' in req.socket ? 'https' : 'http')
    const authority = readAuthority(forwarded?.host ?? singleHost(req), scheme)
    if (accepted.size > 0 && !isAccepted(accepted, authority, scheme)) {
      throw new RegistryError('MISDIRECTED_REQUEST', { host: authority })
    }
    const clientAddress =
      forwarded === undefined ? peer : firstUntrusted(forwarded.for, isTrusted, peer)
    if (fixed === undefined) return { scheme, authority, clientAddress }
    return {
      scheme: schemeOf(fixed.protocol.slice(0, -1)) ?? scheme,
      authority: fixed.host,
      clientAddress,
    }
  }
}

function singleHost(req: IncomingMessage): string {
  const hosts = headerValues(req, 'host')
  if (hosts.length !== 1) refuse('exactly one Host header is needed')
  return hosts[0] ?? ''
}

function readAuthority(text: string, scheme: string): string {
  const authority = text.toLowerCase()
  if (!authorityGrammar.test(authority)) refuse('the Host header is malformed')
  const defaultPort = scheme === 'https' ? ':443' : ':80'
  return authority.endsWith(defaultPort) ? authority.slice(0, -defaultPort.length) : authority
}

function isAccepted(accepted: ReadonlySet<string>, authority: string, scheme: string): boolean {
  const name = authority.replace(/:[0-9]+$/, '')
  const withPort = name === authority ? `${name}:${scheme === 'https' ? 443 : 80}` : authority
  return accepted.has(name) || accepted.has(withPort)
}

type Forwarded = {
  readonly scheme: 'http' | 'https' | undefined
  readonly host: string | undefined
  /** Addresses from the client to the last proxy before our peer. */
  readonly for: readonly string[]
}

/**
 * What a trusted proxy says. X-Forwarded-* go before Forwarded (RFC 7239), because proxies that set
 * the former pass the latter on as the client sent it.
 */
function readForwarded(req: IncomingMessage): Forwarded {
  const list = (name: string): string[] => splitList(headerValues(req, name).join(','))
  const [proto] = list('x-forwarded-proto')
  const [host] = list('x-forwarded-host')
  const addresses = list('x-forwarded-for')
  if (proto !== undefined || host !== undefined || addresses.length > 0) {
    return { scheme: schemeOf(proto), host, for: addresses }
  }
  const elements = list('forwarded').map(parseForwardedElement)
  return {
    scheme: schemeOf(elements[0]?.get('proto')),
    host: elements[0]?.get('host'),
    for: elements.flatMap((element) => element.get('for') ?? []),
  }
}

/** forwarded-element of RFC 7239 section 4, names in lower case, quotes taken off. */
function parseForwardedElement(element: string): Map<string, string> {
  const pairs = element.split(';').flatMap((pair): [string, string][] => {
    const equals = pair.indexOf('=')
    if (equals === -1) return []
    const value = pair.slice(equals + 1).trim()
    return [[pair.slice(0, equals).trim().toLowerCase(), value.replace(/^"(.*)"$/, '$1')]]
  })
  return new Map(pairs)
}

/** The nearest address to us that no trusted proxy has; everything before it could be made up. */
function firstUntrusted(
  addresses: readonly string[],
  isTrusted: (address: string) => boolean,
  peer: string,
): string {
  let client = peer
  for (const text of addresses.toReversed()) {
    const address = normalizeAddress(text)
    if (isIP(address) === 0) return client
    client = address
    if (!isTrusted(address)) return client
  }
  return client
}

function createTrustCheck(trustedProxies: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  const networks = trustedProxies.filter((entry) => entry !== 'unix')
  for (const entry of networks) {
    const [address = '', prefix] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  return (address) => {
    if (address === unixPeer) return networks.length < trustedProxies.length
    if (networks.length === 0) return false
    const family = isIP(address)
    return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** An address without the brackets, port and IPv4-in-IPv6 prefix that it may come with. */
function normalizeAddress(text: string): string {
  if (!text.includes(':')) return text
  const bare = /^\[(.+)\](?::[0-9]+)?$/.exec(text)?.[1] ?? text.replace(/^([0-9.]+):[0-9]+$/, '$1')
  return bare.replace(/^::ffff:(?=[0-9.]+$)/i, '')
}

function splitList(value: string): string[] {
  return value.split(',').flatMap((item) => item.trim() || [])
}

function schemeOf(text: string | undefined): 'http' | 'https' | undefined {
  const scheme = text?.toLowerCase()
  return scheme === 'http' || scheme === 'https' ? scheme : undefined
}

function refuse(reason: string): never {
  throw new RegistryError('REQUEST_INVALID', { reason })
}
