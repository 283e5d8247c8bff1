import * as z from 'zod'
import { bool, choice, count, line, list, path, scalar, section, timeLimit } from './fields.ts'
import { http } from './schema-http.ts'
import { storage } from './schema-storage.ts'
import {
  parseCorsOrigin,
  parseLine,
  parseLogLevel,
  parseSeconds,
  parseTokenPath,
  parseUpstreamUrl,
  parseUsername,
  parseWorkers,
} from './values.ts'

const log = section({
  level: scalar('error | warn | info | debug', parseLogLevel)
    .prefault('info')
    .describe('Least severe level that is written.'),
  formatter: choice(['json', 'text', 'logstash'])
    .prefault('json')
    .describe('Encoding of log lines. registry:2 has `text` as its default.'),
  fields: z
    .record(z.string(), z.unknown(), { error: 'expected a map of fields' })
    .prefault({})
    .meta({
      description: 'Constant fields added to every line. Not masked: do not put secrets here.',
      example: '{service: registry}',
    }),
  accesslog: section({
    disabled: bool.prefault('false').describe('Turns off the one line per request.'),
  })
    .prefault({})
    .describe('The access log.'),
})

/** Where the token endpoints of known registries are. */
export const defaultTokenPaths = ['/auth/token', '/service/token', '/v2/token']

const upstream = section({
  url: scalar('URL', parseUpstreamUrl).meta({
    description: 'The registry behind: `http://host:port`, `https://host:port` or `unix:///path`.',
    example: 'http://registry:5000',
  }),
  authorization: z
    .union(
      [
        choice(['strip', 'pass']),
        section({
          username: scalar('text', parseUsername).meta({
            description: 'User name for the backend.',
            example: 'tidegate',
          }),
          passwordfile: path.meta({
            description: 'File with the password for the backend, so that none is kept here.',
            example: '/run/secrets/upstream-password',
          }),
        }),
      ],
      { error: 'expected strip, pass, or both username (without a colon) and passwordfile' },
    )
    .prefault('strip')
    .meta({
      description:
        'What becomes of the client’s credentials: removed, passed on (the backend sees every password), or replaced by a fixed user, `{username, passwordfile}`.',
      type: 'strip | pass | section',
    }),
  tokenpaths: list(scalar('path', parseTokenPath))
    .prefault(defaultTokenPaths)
    .describe(
      'Paths of the backend’s own token endpoint, forwarded only with `authorization: pass`.',
    ),
  tls: section({
    ca: path.exactOptional().meta({
      description: 'PEM file of the authority that signed the backend’s certificate.',
      example: '/certs/upstream-ca.crt',
    }),
    certificate: path.exactOptional().meta({
      description: 'PEM file of the client certificate shown to the backend. Needs `key`.',
      example: '/certs/upstream-client.crt',
    }),
    key: path.exactOptional().meta({
      description: 'PEM file of the private key of `certificate`.',
      example: '/certs/upstream-client.key',
    }),
    servername: scalar('host', parseLine).exactOptional().meta({
      description: 'Name expected in the backend’s certificate, when it is not the URL’s host.',
      example: 'registry.internal',
    }),
  })
    .prefault({})
    .describe('TLS towards an https:// backend. The certificate is always verified.'),
  timeouts: section({
    connect: timeLimit.prefault('5s').describe('Time to connect, TLS included.'),
    response: timeLimit
      .prefault('15m')
      .describe(
        'Time from the end of a request to the backend’s answer. Committing a large layer takes minutes.',
      ),
  })
    .prefault({})
    .describe('Time limits towards the backend.'),
})

const auth = section({
  none: section({})
    .exactOptional()
    .describe('`auth: none` says that anyone may push, pull and delete.'),
  htpasswd: section({
    realm: line
      .prefault('Registry')
      .describe('Name that clients show when they ask for a password.'),
    path: path.meta({
      description: 'htpasswd file; changes are picked up while running.',
      example: '/auth/htpasswd',
    }),
  })
    .exactOptional()
    .describe('Users and passwords from an htpasswd file.'),
}).transform(({ none: _, ...rest }) => rest)

const cors = section({
  origins: list(scalar('origin', parseCorsOrigin))
    .refine((origins) => origins.length > 0, 'expected at least one origin')
    .meta({
      description:
        'Origins of web interfaces, exactly as browsers send them, or `*` (without credentials).',
      example: '[https://ui.example]',
    }),
  credentials: bool.exactOptional().meta({
    description:
      'Lets those origins use the browser’s login. Absent = true for exact origins, false for `*`; true with `*` is refused.',
    example: 'true',
  }),
  maxage: scalar('duration', parseSeconds)
    .prefault('20d')
    .describe('How long browsers may remember a preflight answer, in whole seconds.'),
}).transform(({ credentials, ...rest }) => ({
  ...rest,
  credentials: credentials ?? !rest.origins.includes('*'),
}))

/** The configuration file: registry:2's keys as far as they are implemented, and our own. */
export const configSchema = section({
  version: choice(['0.1']).prefault('0.1').describe('Version of the format.'),
  log: log.prefault({}).describe('What is logged, and how.'),
  http: http.prefault({}).describe('The server that clients meet.'),
  workers: scalar('auto | 1-64', parseWorkers)
    .prefault('auto')
    .describe(
      'Processes that serve clients, side by side on one address. `auto` = one for each core, 4 at most. 1 = all in one process.',
    ),
  upstream: upstream
    .exactOptional()
    .describe(
      'The registry that requests are forwarded to. Without it Tidegate is the registry: see `storage`.',
    ),
  storage: storage.prefault({}).describe('The registry of our own. No effect beside `upstream`.'),
  auth: auth.prefault({}).describe('Who may come in. Without it anyone may push, pull and delete.'),
  cors: cors.exactOptional().describe('Access for web interfaces on other origins.'),
  catalog: section({
    maxentries: count
      .prefault('1000')
      .describe(
        'Most repositories in one answer of the catalog; a client that asks for more gets 400.',
      ),
  })
    .prefault({})
    .describe('The list of repositories. No effect beside `upstream`.'),
  tags: section({
    maxtags: count
      .prefault('1000')
      .describe('Most tags in one answer, if the client asks for pages. Without `n` it gets all.'),
  })
    .prefault({})
    .describe('Lists of tags. No effect beside `upstream`.'),
})

/** The effective configuration: durations in milliseconds, sizes in bytes, defaults filled in. */
export type Config = z.output<typeof configSchema>
