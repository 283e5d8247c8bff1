import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import bcrypt from 'bcryptjs'
import { createAuthority, generateKey, issueServerCertificate } from '../../src/tls/authority.ts'
import { freePort } from '../../test/peers/support/free-port.ts'
import { type TreeMeasures, treeMeasuresOf } from './process-tree.ts'

/** The one user of a run. */
export const credentials = 'bench:a password of usual length'

/** A server that was started for the run, on 127.0.0.1. */
export type Server = TreeMeasures & {
  readonly name: string
  readonly port: number
  stop(): Promise<void>
}

export type ServerOptions = {
  readonly name: string
  /** Command line of a server that stays in the foreground and listens on `port`. */
  readonly command: (port: number, folder: string) => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What it prints once all of it is up; it is up when it listens unless given. */
  readonly readyText?: string
}

/** The folder of one run, with all that its servers share. */
export type Workspace = Disposable & {
  readonly folder: string
  /** Certificate of the authority, for clients. */
  readonly authority: string
  readonly certificate: string
  readonly key: string
  /** `credentials`, hashed with bcrypt of cost 5, which is what `htpasswd -B` does. */
  readonly htpasswd: string
  /** Environment that makes OpenSSL's clients ask for the one cipher suite that all servers use. */
  readonly clientEnv: NodeJS.ProcessEnv
  /** A new folder. */
  makeFolder(name: string): string
  /** Starts a server and resolves once it accepts connections. */
  serve(options: ServerOptions): Promise<Server>
}

const startLimitMs = 20_000

/** Opens a workspace. Its servers and its folder go with it, also when the process is interrupted. */
export function openWorkspace(): Workspace {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'))
  const children = new Set<ChildProcess>()
  const remove = (): void => {
    for (const child of children) killGroup(child)
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  process.once('exit', remove)
  let made = 0
  const makeFolder = (name: string): string => {
    made += 1
    const path = join(folder, `${made}-${name.replaceAll(/[^a-z0-9]+/gi, '-')}`)
    mkdirSync(path)
    return path
  }
  return {
    folder,
    ...writeSharedFiles(folder),
    makeFolder,
    serve: (options) => serve(options, { folder: makeFolder(options.name), children }),
    [Symbol.dispose]() {
      process.off('exit', remove)
      remove()
    },
  }
}

type SharedFiles = Pick<Workspace, 'authority' | 'certificate' | 'key' | 'htpasswd' | 'clientEnv'>

function writeSharedFiles(folder: string): SharedFiles {
  const authorityKey = generateKey()
  const authority = createAuthority({ name: 'Benchmark', key: authorityKey })
  const issued = issueServerCertificate(
    { certificate: new X509Certificate(authority), key: authorityKey },
    { names: ['localhost', '127.0.0.1'] },
  )
  const key = String(issued.key.export({ type: 'pkcs8', format: 'pem' }))
  const [user = '', password = ''] = credentials.split(':')
  const write = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const openssl = write(
    'openssl.cnf',
    'openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n' +
      '[all]\nMinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\n',
  )
  write('server.pem', issued.certificate + key)
  return {
    authority: write('authority.crt', authority),
    certificate: write('server.crt', issued.certificate),
    key: write('server.key', key),
    htpasswd: write('htpasswd', `${user}:${bcrypt.hashSync(password, 5)}\n`),
    clientEnv: { ...process.env, OPENSSL_CONF: openssl },
  }
}

type Place = { readonly folder: string; readonly children: Set<ChildProcess> }

async function serve(
  { name, command, env = {}, readyText = '' }: ServerOptions,
  { folder, children }: Place,
): Promise<Server> {
  const port = await freePort()
  const log = join(folder, 'output.log')
  const output = openSync(log, 'a')
  // A group of its own, so that workers go with their primary; and should this process be killed,
  // the kernel ends the server.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...command(port, folder)], {
    detached: true,
    stdio: ['ignore', output, output],
    // Daemons live in sbin, which is not on the PATH of every user.
    env: { PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, HOME: folder, ...env },
  })
  closeSync(output)
  children.add(child)
  const exited = once(child, 'exit').finally(() => children.delete(child))
  const printed = (): string => readFileSync(log, 'utf8')
  try {
    await untilReady(child, async () => (await isOpen(port)) && printed().includes(readyText))
  } catch (cause) {
    throw new Error(`${name} does not start\n${printed().slice(-2000)}`, { cause })
  }
  return {
    name,
    port,
    ...treeMeasuresOf(Number(child.pid)),
    async stop() {
      killGroup(child)
      await exited
    },
  }
}

async function untilReady(child: ChildProcess, isReady: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + startLimitMs
  while (!(await isReady())) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended')
    if (performance.now() > end) throw new Error(`not ready after ${startLimitMs} ms`)
    await delay(25)
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}
