import { isIP } from 'node:net'
import { join } from 'node:path'

export type QuickstartFacts = {
  /** Absolute: the commands are typed in another terminal, wherever that is. */
  readonly directory: string
  /** What begins a command of ours, e.g. `tidegate`. */
  readonly commandName: string
  /** The registry that is forwarded to, or the folder of our own. */
  readonly backend: { readonly upstream: string } | { readonly store: string }
  /** The host that the printed commands name. */
  readonly host: string
  /** Further names and addresses that reach the server. */
  readonly otherHosts: readonly string[]
  readonly port: number
  /** Undefined when nobody can log in. */
  readonly user: string | undefined
  /** Only when the user was made just now. */
  readonly password?: string
  readonly notices: readonly string[]
}

type AccountFacts = Pick<QuickstartFacts, 'directory' | 'commandName' | 'user' | 'password'>

type Row = readonly [label: string, command: string]

/** What a person needs after a quickstart, for a terminal: where, who, trust, log in, push. */
export function describeQuickstart(facts: QuickstartFacts): string[] {
  const registry = authority(facts.host, facts.port)
  return [
    ...section(`Tidegate serves https://${registry}`, addressRows(facts)),
    ...describeAccount(facts),
    ...section('Trust its certificate authority: for one tool', toolTrustRows(facts, registry)),
    ...section('or for the whole system, then restart docker', systemTrustRows(facts)),
    ...(facts.user === undefined ? [] : section('Log in', loginRows(facts.user, registry))),
    ...section('Push an image', pushRows(registry)),
    ...(facts.notices.length === 0
      ? []
      : ['Please note', ...facts.notices.map((line) => `  ${line}`), '']),
  ]
}

/** Who can log in, and the password if it was made just now: it is shown nowhere else. */
export function describeAccount(facts: AccountFacts): string[] {
  return section('User', userRows(facts))
}

function addressRows({ backend, directory, otherHosts, host, port }: QuickstartFacts): Row[] {
  // References to images cannot hold IPv6 addresses, and loopback is no use on another machine.
  const others = otherHosts
    .filter((other) => other !== host && other !== 'localhost')
    .filter((other) => isIP(other) !== 6 && !other.startsWith('127.'))
    .map((other) => authority(other, port))
  return [
    'upstream' in backend ? ['in front of', backend.upstream] : ['images in', backend.store],
    ['kept in', directory],
    ...(others.length === 0
      ? []
      : [['elsewhere', `write ${others.join(' or ')} instead`] as const]),
  ]
}

function userRows({ directory, commandName, user, password }: AccountFacts): Row[] {
  const htpasswd = quote(join(directory, 'htpasswd'))
  if (user === undefined) {
    return [
      [
        'nobody',
        `no line of ${htpasswd} can be used; add one: ${commandName} htpasswd add ${htpasswd} admin`,
      ],
    ]
  }
  const change = `${commandName} htpasswd add ${htpasswd} ${quote(user)}`
  return password === undefined
    ? [
        ['name', user],
        ['password', `shown when it was made; for a new one: ${change}`],
      ]
    : [
        ['name', user],
        ['password', `${password}    (shown only this once)`],
      ]
}

function toolTrustRows({ directory }: QuickstartFacts, registry: string): Row[] {
  const ca = quote(join(directory, 'ca.crt'))
  const install = (folder: string) => `install -Dm644 ${ca} ${folder}/certs.d/${registry}/ca.crt`
  return [
    ['docker', `sudo ${install('/etc/docker')}`],
    ['podman, skopeo', `sudo ${install('/etc/containers')}`],
    ['  without root', install('~/.config/containers')],
    ['curl', `curl --cacert ${ca} https://${registry}/v2/`],
  ]
}

function systemTrustRows({ directory }: QuickstartFacts): Row[] {
  const ca = quote(join(directory, 'ca.crt'))
  const install = (folder: string) => `sudo install -m644 ${ca} ${folder}/tidegate.crt`
  const keychain = '/Library/Keychains/System.keychain'
  return [
    [
      'Debian, Ubuntu',
      `${install('/usr/local/share/ca-certificates')} && sudo update-ca-certificates`,
    ],
    ['Red Hat, Fedora', `${install('/etc/pki/ca-trust/source/anchors')} && sudo update-ca-trust`],
    ['macOS', `sudo security add-trusted-cert -d -r trustRoot -k ${keychain} ${ca}`],
  ]
}

function loginRows(user: string, registry: string): Row[] {
  return ['docker', 'podman', 'skopeo'].map((tool) => [
    tool,
    `${tool} login -u ${quote(user)} ${registry}`,
  ])
}

function pushRows(registry: string): Row[] {
  return [
    ['docker', `docker tag alpine ${registry}/alpine && docker push ${registry}/alpine`],
    ['podman', `podman push alpine ${registry}/alpine`],
    ['skopeo', `skopeo copy docker-daemon:alpine:latest docker://${registry}/alpine`],
  ]
}

function section(title: string, rows: readonly Row[]): string[] {
  return [title, ...rows.map(([label, text]) => `  ${label.padEnd(17)}${text}`), '']
}

/** `host:port` as it stands in a URL and in an image's name; 443 is left out, as clients do. */
function authority(host: string, port: number): string {
  const name = isIP(host) === 6 ? `[${host}]` : host
  return port === 443 ? name : `${name}:${port}`
}

/** For a POSIX shell. */
export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
