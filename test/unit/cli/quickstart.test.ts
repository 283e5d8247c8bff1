import { createPrivateKey, X509Certificate } from 'node:crypto'
import {
  chmod,
  mkdir,
  mkdtempDisposable,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { compare } from 'bcryptjs'
import { Command } from 'commander'
import { parse } from 'yaml'
import { prepareQuickstart, registerQuickstartCommand } from '../../../src/cli/quickstart.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'
import { createAuthority, generateKey, issueServerCertificate } from '../../../src/tls/authority.ts'
import { loadTlsServerOptions } from '../../../src/tls/server-options.ts'
import { startTlsServer } from '../tls/handshake.ts'
import { makePair, openssl } from '../tls/openssl.ts'

const defaults = { addr: '0.0.0.0:8443' }

async function makeFolder() {
  const parent = await mkdtempDisposable(join(tmpdir(), 'tidegate-quickstart-'))
  const directory = join(parent.path, 'data')
  return {
    parent: parent.path,
    directory,
    start: (options = {}) => prepareQuickstart({ ...defaults, directory, ...options }, 'tidegate'),
    file: (name: string) => join(directory, name),
    read: (name: string) => readFile(join(directory, name), 'utf8'),
    certificate: async (name: string) => new X509Certificate(await readFile(join(directory, name))),
    [Symbol.asyncDispose]: () => parent.remove(),
  }
}
type Folder = Awaited<ReturnType<typeof makeFolder>>

/** Everything a start could have changed. */
async function snapshot({ directory }: Folder): Promise<Record<string, string>> {
  const entries = (await readdir(directory)).sort().map(async (name) => {
    const { mode, ino, mtimeMs } = await stat(join(directory, name))
    return [name, `${mode} ${ino} ${mtimeMs} ${await readFile(join(directory, name), 'utf8')}`]
  })
  return Object.fromEntries(await Promise.all(entries))
}

const passwordIn = (messages: readonly string[]) =>
  /password +([A-Za-z0-9]{24}) +\(shown only/.exec(messages.join('\n'))?.[1]

/** The server pair fits together, comes from ca.crt, and serves. */
async function assertServes(t: ExecutionContext, folder: Folder, servername = 'localhost') {
  const { options, warnings } = await loadTlsServerOptions({
    certificate: folder.file('server.crt'),
    key: folder.file('server.key'),
    minimumtls: 'tls1.2',
    ciphersuites: [],
    clientcas: [],
    clientauth: 'require-and-verify-client-cert',
  })
  await using server = await startTlsServer(options)
  const client = await server.connect({ ca: await folder.read('ca.crt'), servername })
  t.true(client.authorized)
  t.deepEqual(warnings, [])
}

test('quickstart: the first start makes everything, readable by its owner only', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  const mode = async (path: string) => ((await stat(path)).mode & 0o777).toString(8)
  t.is(await mode(folder.directory), '700')
  const names = (await readdir(folder.directory)).sort()
  t.deepEqual(names, ['ca.crt', 'ca.key', 'config.yml', 'htpasswd', 'server.crt', 'server.key'])
  for (const name of ['ca.key', 'server.key', 'htpasswd'])
    t.is(await mode(folder.file(name)), '600')
  await assertServes(t, folder)
  t.is(
    await openssl(folder.directory, 'verify', '-x509_strict', '-CAfile', 'ca.crt', 'server.crt'),
    'server.crt: OK\n',
  )
})

test('quickstart: the certificate is for localhost and every address of the host', async (t) => {
  await using folder = await makeFolder()
  await folder.start({ hostname: 'Registry.Example', addr: '127.0.0.2:8443' })
  const leaf = await folder.certificate('server.crt')
  t.truthy(leaf.checkHost('localhost'))
  t.truthy(leaf.checkHost('registry.example'))
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const reachable = own.filter(({ scopeid }) => !scopeid).map(({ address }) => address)
  for (const address of ['127.0.0.1', '::1', '127.0.0.2', ...reachable])
    t.truthy(leaf.checkIP(address))
  t.is(leaf.checkHost('other.example'), undefined)
})

test('quickstart: the printed password is the one in htpasswd, and is nowhere in clear', async (t) => {
  await using folder = await makeFolder()
  const { messages } = await folder.start()
  const password = passwordIn(messages) ?? ''
  const [user, hash = ''] = (await folder.read('htpasswd')).trimEnd().split(':')
  t.is(user, 'admin')
  t.true(hash.startsWith('$2y$10$'))
  t.true(await compare(password, hash))
  t.notRegex(password, /[0O1lIo]/)
  t.false(Object.values(await snapshot(folder)).some((text) => text.includes(password)))
})

test('quickstart: two first starts have different passwords and keys', async (t) => {
  await using one = await makeFolder()
  await using two = await makeFolder()
  const [a, b] = [await one.start(), await two.start()]
  t.not(passwordIn(a.messages), passwordIn(b.messages))
  t.not(await one.read('ca.key'), await two.read('ca.key'))
})

test('quickstart: the second start changes no file and prints no password', async (t) => {
  await using folder = await makeFolder()
  const first = await folder.start()
  const before = await snapshot(folder)
  const second = await folder.start()
  t.deepEqual(await snapshot(folder), before)
  t.deepEqual(second.config, first.config)
  t.is(passwordIn(second.messages), undefined)
  t.regex(
    second.messages.join('\n'),
    /password +shown when it was made; .*htpasswd add .*htpasswd admin/,
  )
})

test('quickstart: config.yml says what runs, and is not overwritten', async (t) => {
  await using folder = await makeFolder()
  const { config, messages } = await folder.start()
  const loaded = await loadConfig({ file: folder.file('config.yml'), env: {} })
  t.deepEqual(loaded.config, config)
  t.deepEqual(loaded.warnings, [])
  t.deepEqual(parse(await folder.read('config.yml')), {
    version: '0.1',
    http: {
      addr: '0.0.0.0:8443',
      tls: { certificate: folder.file('server.crt'), key: folder.file('server.key') },
    },
    auth: { htpasswd: { realm: 'Tidegate', path: folder.file('htpasswd') } },
    storage: {
      filesystem: { rootdirectory: folder.file('registry') },
      delete: { enabled: true },
      gc: { interval: '24h' },
    },
  })
  t.regex(messages.join('\n'), /images in +\/.*\/data\/registry\n/)
  t.false(messages.includes('Please note'))
  await writeFile(folder.file('config.yml'), 'mine: true\n')
  const second = await folder.start()
  t.is(await folder.read('config.yml'), 'mine: true\n')
  t.regex(
    second.messages.join('\n'),
    /config\.yml differs from what runs now; to run it: tidegate serve/,
  )
})

test('quickstart: with an upstream there is no store', async (t) => {
  await using folder = await makeFolder()
  const { config, messages } = await folder.start({ upstream: 'http://127.0.0.1:5000' })
  t.is(config.upstream?.url, 'http://127.0.0.1:5000')
  t.notRegex(await folder.read('config.yml'), /storage/)
  t.regex(messages.join('\n'), /in front of +http:\/\/127\.0\.0\.1:5000\n/)
})

test('quickstart: a lost server pair is issued again by the same authority', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  const authority = await folder.read('ca.crt')
  for (const lost of [['server.crt'], ['server.key'], ['server.crt', 'server.key']]) {
    for (const name of lost) await rm(folder.file(name))
    const { messages } = await folder.start()
    t.is(passwordIn(messages), undefined)
    await assertServes(t, folder)
  }
  t.is(await folder.read('ca.crt'), authority)
})

test('quickstart: what a crash left half-way is completed', async (t) => {
  await using folder = await makeFolder()
  await mkdir(folder.directory)
  // A crash after the first key, with temporary files of all kinds lying around.
  const key = String(generateKey().export({ type: 'pkcs8', format: 'pem' }))
  await writeFile(folder.file('ca.key'), key)
  for (const name of ['ca.crt', 'server.key', 'server.crt', 'htpasswd', 'config.yml']) {
    await writeFile(folder.file(`${name}.tmp`), 'half a fi', { mode: 0o644 })
  }
  const { messages } = await folder.start()
  t.is(await folder.read('ca.key'), key)
  t.truthy(passwordIn(messages))
  t.is((await stat(folder.file('server.key'))).mode & 0o777, 0o600)
  await assertServes(t, folder)
})

test('quickstart: a new server key beside the old certificate is mended', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  await writeFile(folder.file('server.key'), generateKey().export({ type: 'pkcs8', format: 'pem' }))
  await folder.start()
  await assertServes(t, folder)
})

test('quickstart: a torn server certificate is issued again', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  await writeFile(folder.file('server.crt'), (await folder.read('server.crt')).slice(0, 200))
  await folder.start()
  await assertServes(t, folder)
})

test('quickstart: a server certificate that lacks a name is issued again', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  await folder.start({ hostname: 'registry.example' })
  await assertServes(t, folder, 'registry.example')
  const before = await snapshot(folder)
  await folder.start()
  t.deepEqual(await snapshot(folder), before, 'a name too many is no reason')
})

test('quickstart: a server certificate in its last 30 days is issued again', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  const authority = {
    certificate: await folder.certificate('ca.crt'),
    key: createPrivateKey(await folder.read('ca.key')),
  }
  const issue = async (daysLeft: number) => {
    const { subjectAltName = '' } = await folder.certificate('server.crt')
    const names = subjectAltName.split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''))
    const now = new Date(Date.now() - (397 - daysLeft) * 24 * 60 * 60 * 1000)
    const { certificate, key } = issueServerCertificate(authority, { names, now })
    await writeFile(folder.file('server.crt'), certificate)
    await writeFile(folder.file('server.key'), key.export({ type: 'pkcs8', format: 'pem' }))
    return certificate
  }
  const fresh = await issue(31)
  await folder.start()
  t.is(await folder.read('server.crt'), fresh)
  const old = await issue(29)
  await folder.start()
  t.not(await folder.read('server.crt'), old)
  await assertServes(t, folder)
})

test('quickstart: a foreign server pair is kept aside and reported', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  await makePair(folder.directory, 'server')
  const foreign = [await folder.read('server.crt'), await folder.read('server.key')]
  const { messages } = await folder.start()
  t.regex(
    messages.join('\n'),
    /server\.crt was not issued by ca\.crt beside it and has been replaced/,
  )
  t.deepEqual(
    [await folder.read('server.crt.replaced'), await folder.read('server.key.replaced')],
    foreign,
  )
  await assertServes(t, folder)
})

test('quickstart: a foreign authority with its key takes over', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  const { certificate } = await makePair(folder.directory, 'ca', {
    newkey: ['rsa:2048'],
    extensions: [],
  })
  const theirs = await readFile(certificate, 'utf8')
  await folder.start()
  t.is(await folder.read('ca.crt'), theirs)
  await assertServes(t, folder)
})

type Obstacle = { arrange: (folder: Folder) => Promise<unknown>; expected: RegExp }

const refuses = test.macro(async (t, { arrange, expected }: Obstacle) => {
  await using folder = await makeFolder()
  await folder.start()
  await arrange(folder)
  const before = await snapshot(folder)
  const error = await t.throwsAsync(folder.start(), { instanceOf: StartupError })
  t.is(error?.problems.length, 1)
  t.regex(error?.message ?? '', expected)
  t.deepEqual(await snapshot(folder), before)
})

test('quickstart: a foreign ca.crt without its key is refused', refuses, {
  arrange: async (folder) => {
    const { certificate } = await makePair(folder.parent, 'foreign', { extensions: [] })
    await writeFile(folder.file('ca.crt'), await readFile(certificate))
  },
  expected:
    /ca\.key does not belong to .*ca\.crt; bring the right file back, or remove ca\.crt and ca\.key/,
})
test('quickstart: a missing ca.key is told when a certificate must be issued', refuses, {
  arrange: async (folder) => {
    await rm(folder.file('ca.key'))
    await rm(folder.file('server.crt'))
  },
  expected: /ca\.key does not exist, but a certificate must be issued; bring the right file back/,
})
test('quickstart: a ca.crt that is no authority is refused', refuses, {
  arrange: async (folder) =>
    makePair(folder.directory, 'ca', { extensions: ['basicConstraints=critical,CA:FALSE'] }),
  expected: /ca\.crt is not the certificate of an authority/,
})
test('quickstart: an expired authority is refused', refuses, {
  arrange: async (folder) => {
    const key = createPrivateKey(await folder.read('ca.key'))
    const certificate = createAuthority({ name: 'Old', key, now: new Date('2010-01-01') })
    await writeFile(folder.file('ca.crt'), certificate)
  },
  expected: /ca\.crt expired at 20\d\d-.*; remove ca\.crt and ca\.key to start a new authority/,
})
test('quickstart: an authority whose key cannot sign is refused', refuses, {
  arrange: async (folder) =>
    makePair(folder.directory, 'ca', { newkey: ['ed25519'], extensions: [] }),
  expected: /ca\.key must be an EC or RSA key/,
})
test('quickstart: a damaged ca.crt is refused, not replaced', refuses, {
  arrange: async (folder) => writeFile(folder.file('ca.crt'), 'oops'),
  expected: /ca\.crt holds no PEM text/,
})

test('quickstart: a missing ca.key is no matter while nothing must be issued', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  await rm(folder.file('ca.key'))
  await folder.start()
  await assertServes(t, folder)
  t.false((await readdir(folder.directory)).includes('ca.key'))
})

test('quickstart: users of an existing htpasswd stay, and admin is not brought back', async (t) => {
  await using folder = await makeFolder()
  await folder.start()
  const hash = (await folder.read('htpasswd')).split(':')[1]
  await writeFile(folder.file('htpasswd'), `# staff\r\nerin:${hash}`)
  const { messages } = await folder.start()
  t.is(await folder.read('htpasswd'), `# staff\r\nerin:${hash}`)
  t.is(passwordIn(messages), undefined)
  t.regex(messages.join('\n'), /docker login -u erin localhost:8443/)
})

test('quickstart: an htpasswd in which nobody can log in is left alone, and said so', async (t) => {
  await using folder = await makeFolder()
  await mkdir(folder.directory)
  await writeFile(folder.file('htpasswd'), 'admin:!\n')
  const { messages } = await folder.start()
  t.is(await folder.read('htpasswd'), 'admin:!\n')
  t.regex(
    messages.join('\n'),
    /nobody +no line of .*htpasswd can be used; add one: tidegate htpasswd add/,
  )
  t.false(messages.some((line) => line.includes('login')))
})

test('quickstart: an htpasswd with comments only gets its first user', async (t) => {
  await using folder = await makeFolder()
  await mkdir(folder.directory)
  await writeFile(folder.file('htpasswd'), '# users\n')
  const { messages } = await folder.start()
  t.truthy(passwordIn(messages))
  t.regex(await folder.read('htpasswd'), /^# users\nadmin:\$2y\$10\$.{53}\n$/)
})

test('quickstart: the lines name the right host and port', async (t) => {
  await using folder = await makeFolder()
  const lines = async (options: object) => (await folder.start(options)).messages.join('\n')
  const named = await lines({ addr: ':44301', hostname: 'registry.example' })
  t.true(named.includes('https://registry.example:44301'))
  t.true(named.includes('/etc/docker/certs.d/registry.example:44301/ca.crt'))
  t.true(named.includes('/etc/containers/certs.d/registry.example:44301/ca.crt'))
  for (const tool of ['docker', 'podman', 'skopeo']) {
    t.true(named.includes(`${tool} login -u admin registry.example:44301\n`))
  }
  t.true(named.includes('docker push registry.example:44301/alpine'))
  t.true((await lines({ addr: '0.0.0.0:443' })).includes('docker login -u admin localhost\n'))
  t.true((await lines({ addr: '[::]:8443' })).includes('docker login -u admin localhost:8443\n'))
  t.true((await lines({ addr: '127.0.0.1:8443' })).includes('login -u admin 127.0.0.1:8443\n'))
})

test('quickstart: a folder with a blank in its name is quoted for the shell', async (t) => {
  await using folder = await makeFolder()
  const directory = join(folder.parent, "it's here")
  const { messages } = await folder.start({ directory })
  t.true(messages.some((line) => line.includes(`--cacert '${folder.parent}/it'\\''s here/ca.crt'`)))
})

test('quickstart: a file in place of the folder is one line', async (t) => {
  await using folder = await makeFolder()
  await writeFile(folder.directory, 'a file')
  for (const directory of [folder.directory, join(folder.directory, 'below')]) {
    await t.throwsAsync(folder.start({ directory }), {
      instanceOf: StartupError,
      message:
        /^--directory: .* cannot be written: a file is in the way; move it, or choose another path$/,
    })
  }
})

test('quickstart: a folder that cannot be written is one line', async (t) => {
  // /proc refuses even root; elsewhere the mode does.
  await using folder = await makeFolder()
  await mkdir(folder.directory)
  await chmod(folder.directory, 0o500)
  const directory = process.getuid?.() === 0 ? '/proc/self/fdinfo' : folder.directory
  const error = await t.throwsAsync(folder.start({ directory }), { instanceOf: StartupError })
  t.is(error?.problems.length, 1)
  t.regex(error?.message ?? '', /ca\.key cannot be written/)
})

test('quickstart: bad options are all reported before anything is made', async (t) => {
  await using folder = await makeFolder()
  const options = { addr: '8443', upstream: 'localhost:5000', hostname: 'https://x' }
  const error = await t.throwsAsync(folder.start(options), { instanceOf: StartupError })
  t.deepEqual(
    error?.problems.map((line) => line.split(': ').slice(0, 2).join(': ')),
    ['--addr: "8443"', '--upstream: "localhost:5000"', '--hostname: "https://x"'],
  )
  t.deepEqual(await readdir(folder.parent), [])
  for (const addr of ['unix:/run/x.sock', '0.0.0.0:0', '0.0.0.0:65536']) {
    await t.throwsAsync(folder.start({ addr }), { instanceOf: StartupError })
  }
})

type Serve = Parameters<typeof registerQuickstartCommand>[1]['serve']

/** Runs the command; what it printed, and what it served. */
async function runCommand(options: string[], serve: Serve, printed: string[] = []) {
  const program = new Command().exitOverride()
  const print = (lines: readonly string[]) => void printed.push(...lines)
  registerQuickstartCommand(program, { commandName: 'npx node src/cli.ts', serve, print })
  const running = program.parseAsync(['node', 'tidegate', 'quickstart', ...options])
  return { printed, outcome: await running.then(() => 'served', String) }
}

test('quickstart: the command prints nothing before it listens, then all of it', async (t) => {
  await using folder = await makeFolder()
  const options = ['--directory', folder.directory, '--upstream', 'http://registry:5000']
  const printed: string[] = []
  const serve: Serve = async (config, _, onListening) => {
    t.is(config.upstream?.url, 'http://registry:5000')
    t.deepEqual(config.http.addr, { host: '0.0.0.0', port: 8443 })
    t.deepEqual(printed, [])
    onListening()
  }
  const { outcome } = await runCommand(options, serve, printed)
  t.is(outcome, 'served')
  t.truthy(passwordIn(printed))
  t.regex(printed[0] ?? '', /^Tidegate serves https:/)
})

test('quickstart: the password of a new user is told although nothing could listen', async (t) => {
  await using folder = await makeFolder()
  const options = ['--directory', folder.directory]
  const refuse = () => Promise.reject(new StartupError('the port is taken'))
  const { printed, outcome } = await runCommand(options, refuse)
  t.is(outcome, 'StartupError: the port is taken')
  const [, hash = ''] = (await folder.read('htpasswd')).trimEnd().split(':')
  t.true(await compare(passwordIn(printed) ?? '', hash))
  t.notRegex(printed.join('\n'), /serves/)
})

test('quickstart: the commands work from any folder, and begin as this one was started', async (t) => {
  await using folder = await makeFolder()
  const options = ['--directory', relative(process.cwd(), folder.directory)]
  await folder.start()
  await writeFile(folder.file('config.yml'), 'mine: true\n')
  const { printed } = await runCommand(options, async (_config, _, onListening) => onListening())
  const text = printed.join('\n')
  t.true(text.includes(`npx node src/cli.ts htpasswd add ${folder.file('htpasswd')} admin`))
  t.true(text.includes(`npx node src/cli.ts serve ${folder.file('config.yml')}`))
  t.true(text.includes(`--cacert ${folder.file('ca.crt')}`))
  t.notRegex(text, /tidegate (htpasswd|serve)|\.\.\//)
})
