import { stringify } from 'yaml'
import { formatDuration, formatSize } from '../lib/units.ts'
import { type KeyNode, keyTree } from './keys.ts'
import type { Config } from './schema.ts'
import { formatListenAddress } from './values.ts'

/**
 * The effective configuration as YAML that can be loaded again, with durations and sizes in units.
 * Secrets are `***`.
 */
export function formatConfig(config: Config): string {
  const { http, auth, cors, storage, catalog, tags, ...rest } = config
  const { debug, tls } = http
  return stringify(
    printable(
      {
        ...rest,
        http: {
          ...http,
          addr: formatListenAddress(http.addr),
          ...(debug !== undefined && {
            debug: { ...debug, addr: formatListenAddress(debug.addr) },
          }),
          ...(tls?.clientcas.length === 0 && { tls: withoutClients(tls) }),
        },
        auth: auth.htpasswd === undefined ? 'none' : auth,
        ...(config.upstream === undefined && {
          storage: printableStorage(storage),
          catalog,
          tags,
        }),
        ...(cors !== undefined && { cors: { ...cors, maxage: cors.maxage * 1000 } }),
      },
      keyTree,
    ),
    { lineWidth: 0 },
  )
}

type Tls = NonNullable<Config['http']['tls']>

/** What is asked of client certificates may only be said beside authorities. */
function withoutClients({ clientcas: _cas, clientauth: _auth, ...tls }: Tls) {
  return tls
}

function printableStorage({ filesystem, ...storage }: Config['storage']) {
  const { minfree } = filesystem
  const share = 'percent' in minfree ? `${minfree.percent}%` : formatSize(minfree.bytes)
  return { ...storage, filesystem: { ...filesystem, minfree: share } }
}

function printable(value: unknown, node: KeyNode | undefined): unknown {
  const type = node?.doc?.type
  if (typeof value === 'number' && type === 'duration') return formatDuration(value)
  if (typeof value === 'number' && type === 'size') return formatSize(value)
  if (typeof value === 'string' && type === 'text (secret)') return '***'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  // The order of the schema, whatever the order of the value.
  const keys = new Set([...(node?.children.keys() ?? []), ...Object.keys(value)])
  const entries = Object.entries(value)
  return Object.fromEntries(
    [...keys].flatMap((key) =>
      entries
        .filter(([name]) => name === key)
        .map(([name, child]) => [name, printable(child, node?.children.get(name))]),
    ),
  )
}
