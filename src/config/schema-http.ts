import * as z from 'zod'
import { parseCipherSuite } from './cipher-suites.ts'
import {
  address,
  bool,
  choice,
  count,
  duration,
  list,
  path,
  scalar,
  secret,
  section,
  timeLimit,
} from './fields.ts'
import {
  parseHeaderValue,
  parseHostValue,
  parseMetricsPath,
  parseNetwork,
  parsePublicHost,
  parseSizeLimit,
} from './values.ts'

const tls = section({
  certificate: path.meta({
    description: 'PEM file: the certificate, then its chain. Needs `key`.',
    example: '/certs/domain.crt',
  }),
  key: path.meta({
    description: 'PEM file: the private key of `certificate`. Keep it readable by Tidegate only.',
    example: '/certs/domain.key',
  }),
  minimumtls: choice(['tls1.2', 'tls1.3'], {
    'tls1.0': 'tls1.0 is broken and not offered: use tls1.2 or tls1.3',
    'tls1.1': 'tls1.1 is broken and not offered: use tls1.2 or tls1.3',
  })
    .prefault('tls1.2')
    .describe('Oldest protocol version that clients may use.'),
  ciphersuites: list(scalar('suite', parseCipherSuite)).prefault([]).meta({
    description:
      'TLS 1.2 suites by IANA or OpenSSL name, only those with forward secrecy and authenticated encryption; empty = the safe suites.',
    example: '[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]',
  }),
  clientcas: list(path).exactOptional().meta({
    description:
      'PEM files of authorities whose client certificates are accepted. Absent = clients are asked for none.',
    example: '[/certs/clients.crt]',
  }),
  clientauth: choice([
    'request-client-cert',
    'require-any-client-cert',
    'verify-client-cert-if-given',
    'require-and-verify-client-cert',
  ])
    .exactOptional()
    .meta({
      description:
        'What is asked of client certificates; needs `clientcas`. The `request` and `require-any` forms accept certificates of anyone. Absent = `require-and-verify-client-cert`.',
      example: 'require-and-verify-client-cert',
    }),
}).transform(({ clientcas = [], clientauth, ...rest }) => ({
  ...rest,
  clientcas,
  clientauth: clientauth ?? ('require-and-verify-client-cert' as const),
}))

/** `http`: the server that clients meet. */
export const http = z.preprocess(
  joinNetAndAddr,
  section({
    addr: address
      .prefault(':5000')
      .describe(
        'Listen address: `host:port`, `:port` (every interface), `[IPv6]:port`, or the path of a socket with `net: unix`. Port 0 takes a free one.',
      ),
    net: choice(['tcp', 'unix']).prefault('tcp').describe('Kind of listener.'),
    host: scalar('URL', parsePublicHost).exactOptional().meta({
      description:
        'Fixed public URL for Location and Link headers: scheme, host, port. Leave it out to answer every client with the address it used.',
      example: 'https://registry.example:8443',
    }),
    hosts: list(scalar('host', parseHostValue)).prefault([]).meta({
      description:
        'Host header values that are answered, `name` or `name:port`; others get 421. Empty = any.',
      example: '[registry.example, registry.example:8443]',
    }),
    tls: tls
      .exactOptional()
      .describe('TLS. Without it plain HTTP is served, which carries passwords in the clear.'),
    debug: section({
      addr: address.meta({
        description: 'Listen address of the debug server. It knows no users: keep it private.',
        example: '127.0.0.1:5001',
      }),
      prometheus: section({
        enabled: bool.prefault('false').describe('Serves metrics on the debug server.'),
        path: scalar('path', parseMetricsPath)
          .prefault('/metrics')
          .describe('Where Prometheus asks for them.'),
      })
        .prefault({})
        .describe('Metrics for Prometheus.'),
    })
      .exactOptional()
      .describe('A second listener for health and metrics.'),
    relativeurls: bool
      .prefault('false')
      .describe('Sends Location without scheme and host. Some clients cannot follow such a value.'),
    secret: secret.exactOptional().meta({
      description:
        'registry:2’s key for the state in upload URLs. There is no such state here, so that replicas need to share nothing but the folder.',
      example: 'replace-with-random-text',
    }),
    headers: z
      .record(
        z.string(),
        z.preprocess(
          (input) => (typeof input === 'string' ? [input] : input),
          z.array(scalar('text', parseHeaderValue), { error: 'expected a list of values' }),
        ),
        { error: 'expected a map of header names to lists of values' },
      )
      .prefault({})
      .meta({
        description:
          'Headers added to responses, as lists of values. For browsers use `cors`, not Access-Control-* here.',
        example: '{X-Content-Type-Options: [nosniff]}',
      }),
    draintimeout: duration
      .prefault('10m')
      .describe(
        'Time that transfers in flight get to finish after SIGTERM. 0 cuts them off at once, which is registry:2’s default.',
      ),
    trustedproxies: list(scalar('network', parseNetwork)).prefault([]).meta({
      description:
        'Peers (IP or CIDR, or `unix` for those on a socket file) whose Forwarded and X-Forwarded-* headers are believed. Anyone listed can forge client addresses and public names.',
      example: '[10.0.0.0/8]',
    }),
    maxbodysize: scalar('size', parseSizeLimit).exactOptional().meta({
      description: 'Largest request body; larger ones get 413. Absent = no limit.',
      example: '10GiB',
    }),
    maxconnections: count
      .prefault('10000')
      .describe(
        'Connections that may be open at once; more are closed as they come. Each needs a file descriptor, and a second one while it transfers. With several `workers` approximate: each closes what goes beyond twice its share.',
      ),
    timeouts: section({
      headers: timeLimit.prefault('20s').describe('Time a client has to send its request headers.'),
      idle: timeLimit
        .prefault('5m')
        .describe('Longest time without a byte in either direction. Total time is not limited.'),
      keepalive: timeLimit
        .prefault('75s')
        .describe('How long a connection may wait for its next request.'),
    })
      .prefault({})
      .describe('Time limits towards clients.'),
  }).transform(({ net: _, ...rest }) => rest),
)

function joinNetAndAddr(input: unknown): unknown {
  if (typeof input !== 'object' || input === null || !('net' in input) || !('addr' in input)) {
    return input
  }
  const isSocket = input.net === 'unix' && typeof input.addr === 'string'
  return isSocket ? { ...input, addr: `unix:${input.addr}` } : input
}
