import { randomInt } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { readHtpasswd, withUser } from '../auth/htpasswd-edit.ts'
import { parseHtpasswd } from '../auth/htpasswd-file.ts'
import { hashPassword } from '../auth/password-hash.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { parseListenAddress, parseUpstreamUrl } from '../config/values.ts'
import { describeReadProblem, describeWriteProblem } from '../lib/file-problem.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { StartupError } from '../lib/startup-error.ts'
import { isHostName, listHostNames } from '../tls/host-names.ts'
import { ensureServerCertificate } from '../tls/local-certificate.ts'
import { describeAccount, describeQuickstart, quote } from './quickstart-messages.ts'

export type QuickstartOptions = {
  /** Where everything that is made is kept. */
  readonly directory: string
  /** `host:port` to listen on. */
  readonly addr: string
  /** URL of a registry to forward to, instead of the registry of our own. */
  readonly upstream?: string
  /** A further name or address that clients use for this host. */
  readonly hostname?: string
}

export type Quickstart = {
  /** What `config.yml` says. */
  readonly config: Config
  readonly warnings: readonly string[]
  /** What to tell the person at the terminal once it listens, line by line. */
  readonly messages: readonly string[]
  /** The part of them about the user, which must be told even if it never listens. */
  readonly account: readonly string[]
}

/** Where images are kept, in the folder of all that is made. */
const storeFolder = 'registry'
const firstUser = 'admin'
const passwordLength = 24
/** Without 0 O o, 1 I l: it is read from a screen and typed. 24 of these are 138 random bits. */
const passwordAlphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789'

const configHeader = `# Written by "tidegate quickstart", which neither reads nor changes it again.
# It is yours to edit and to run with: tidegate serve
`

/**
 * Makes what a first start needs in `directory`, keeping all that is there: a local authority and a
 * server certificate, the configuration as config.yml, and an htpasswd file with one user. The
 * user's password is in the answer of the run that makes the user, and nowhere else; so the user
 * comes last, when nothing more can fail. Only the options count, neither variables nor config.yml.
 * @throws StartupError on bad options, a folder that cannot be used, or files that do not fit
 */
export async function prepareQuickstart(
  options: QuickstartOptions,
  commandName: string,
): Promise<Quickstart> {
  const { host, port } = checkOptions(options)
  const directory = resolve(options.directory)
  const document = createDocument({ ...options, directory })
  const loaded = await loadConfig({ env: {}, overrides: document })
  await ensureDirectory(directory)
  const hostNames = await listHostNames()
  const extraNames = [options.hostname?.toLowerCase(), isWildcard(host) ? undefined : host]
  const names = [...new Set([...hostNames, ...extraNames.filter((name) => name !== undefined)])]
  const certificateNotices = await ensureServerCertificate(directory, names)
  const configNotices = await ensureConfigFile(directory, document, commandName)
  const account = await ensureUser(join(directory, 'htpasswd'))
  const facts = { directory, commandName, ...account }
  const messages = describeQuickstart({
    ...facts,
    backend:
      options.upstream === undefined
        ? { store: join(directory, storeFolder) }
        : { upstream: options.upstream },
    host: options.hostname?.toLowerCase() ?? (isWildcard(host) ? 'localhost' : host),
    otherHosts: isWildcard(host) ? hostNames : [],
    port,
    notices: [...certificateNotices, ...configNotices],
  })
  return { ...loaded, messages, account: describeAccount(facts) }
}

type Surroundings = {
  /** What begins a command of ours, for advice. */
  readonly commandName: string
  /** Serves until it is told to stop; calls `onListening` when clients can connect. */
  serve(config: Config, warnings: readonly string[], onListening: () => void): Promise<void>
  print(lines: readonly string[]): void
}

/** Adds `quickstart` to the command line. */
export function registerQuickstartCommand(
  program: Command,
  { commandName, serve, print }: Surroundings,
): void {
  program
    .command('quickstart')
    .summary('serve with a certificate and a user made on the spot')
    .description(
      'Serve a registry with a local certificate authority, a certificate for this host and one ' +
        'user, all made on the first start and kept in a folder, images included. Prints how to ' +
        'trust the certificate and log in. Its options are all that counts: REGISTRY_* variables ' +
        'are not read.',
    )
    .option('--directory <path>', 'folder for what is made', './data')
    .option('--addr <host:port>', 'where to listen', '0.0.0.0:8443')
    .option('--upstream <url>', 'forward to this registry instead of being one')
    .option('--hostname <name>', 'another name or address that clients use for this host')
    .action(async (options: QuickstartOptions) => {
      const quickstart = await prepareQuickstart(options, commandName)
      let untold = quickstart.account
      try {
        await serve(quickstart.config, quickstart.warnings, () => {
          untold = []
          print(quickstart.messages)
        })
      } catch (error) {
        // The user stays although nothing was served, and the password is known only here.
        if (untold.length > 0) print(untold)
        throw error
      }
    })
}

/** Everything is checked before the first file is made. */
function checkOptions({ addr, upstream, hostname }: QuickstartOptions) {
  const problems: string[] = []
  const check = <T>(option: string, value: string, parse: (text: string) => T): T | undefined => {
    try {
      return parse(value)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      problems.push(`${option}: ${JSON.stringify(value)}: ${error.message}`)
      return undefined
    }
  }
  const address = check('--addr', addr, parseTcpAddress)
  if (upstream !== undefined) check('--upstream', upstream, parseUpstreamUrl)
  if (hostname !== undefined) check('--hostname', hostname, requireHost)
  if (address === undefined || problems.length > 0) throw new StartupError(problems)
  return address
}

function parseTcpAddress(text: string): { host: string; port: number } {
  const address = parseListenAddress(text)
  if ('path' in address || address.port === 0) {
    throw new RangeError(
      'expected host:port with a port that clients can be told, such as 0.0.0.0:8443',
    )
  }
  const { host = '0.0.0.0', port } = address
  return { host: requireHost(host), port }
}

function requireHost(text: string): string {
  const host = text.toLowerCase()
  if (isIP(host) !== 0 || isHostName(host)) return host
  throw new RangeError('expected a DNS name or an IP address, without scheme and port')
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

async function ensureDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new StartupError(`--directory: ${directory} ${describeWriteProblem(cause)}`, { cause })
  }
}

function createDocument({ directory, addr, upstream }: QuickstartOptions): Record<string, unknown> {
  const path = (file: string): string => resolve(directory, file)
  return {
    version: '0.1',
    http: { addr, tls: { certificate: path('server.crt'), key: path('server.key') } },
    auth: { htpasswd: { realm: 'Tidegate', path: path('htpasswd') } },
    ...(upstream === undefined
      ? {
          storage: {
            filesystem: { rootdirectory: path(storeFolder) },
            delete: { enabled: true },
            gc: { interval: '24h' },
          },
        }
      : { upstream: { url: upstream } }),
  }
}

async function ensureConfigFile(
  directory: string,
  document: Record<string, unknown>,
  commandName: string,
): Promise<string[]> {
  const path = join(directory, 'config.yml')
  const text = configHeader + stringify(document)
  const existing = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new StartupError(`${path} ${describeReadProblem(cause)}`, { cause })
  })
  if (existing === undefined) await replaceFile(path, text, { mode: 0o600 })
  if (existing === undefined || existing === text) return []
  return [`${path} differs from what runs now; to run it: ${commandName} serve ${quote(path)}`]
}

/** A file with any line that is meant for a user is the operator's, and stays as it is. */
async function ensureUser(path: string): Promise<{ user: string | undefined; password?: string }> {
  const bytes = (await readHtpasswd(path)) ?? Buffer.alloc(0)
  const { entries, problems } = parseHtpasswd(bytes)
  if (entries.length + problems.length > 0) {
    const users = entries.map(({ user }) => user)
    return { user: users.includes(firstUser) ? firstUser : users[0] }
  }
  const password = Array.from({ length: passwordLength }, pickCharacter).join('')
  await replaceFile(path, withUser(bytes, firstUser, hashPassword(password)))
  return { user: firstUser, password }
}

function pickCharacter(): string {
  return passwordAlphabet.charAt(randomInt(passwordAlphabet.length))
}
