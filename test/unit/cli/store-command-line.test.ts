import { spawn } from 'node:child_process'
import { chmod, mkdir, open, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import { blobData, readonlyMark } from '../../../src/storage/layout.ts'
import { createTestStore, digestOf, type TestStore } from '../../support/store.ts'

type Outcome = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** Runs the command as a user does, with a store named by a variable, and perhaps as somebody else. */
async function run(
  args: readonly string[],
  root: string,
  { uid, readonly = false }: { uid?: number; readonly?: boolean } = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, ['src/cli.ts', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: root,
      REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED: String(readonly),
    },
    ...(uid !== undefined && { uid }),
  })
  const [code, stdout, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.on('close', resolve)),
    child.stdout.toArray(),
    child.stderr.toArray(),
  ])
  return { code, stdout: stdout.join(''), stderr: stderr.join('') }
}

/** With a blob that nothing refers to, two hours old. */
async function storeWithGarbage(): Promise<TestStore> {
  const store = await createTestStore()
  await store.image('app', [await store.layer('app', 'used')])
  await store.blob('garbage')
  await store.age(7_200_000)
  return store
}

const hasGarbage = async ({ driver }: TestStore): Promise<boolean> =>
  (await driver.stat(blobData(digestOf('garbage')))) !== undefined

for (const args of [['fsck'], ['gc'], ['readonly', 'on'], ['readonly', 'status']]) {
  test(`${args.join(' ')}: a folder without a store is refused with its path, and stays as it is`, async (t) => {
    await using store = await createTestStore()
    const { code, stderr } = await run(args, store.root)
    t.is(code, 78)
    t.true(stderr.includes(`${store.root}/docker/registry/v2 is not there`), stderr)
    t.regex(stderr, /name the configuration file of the registry as the argument/)
    t.deepEqual(await readdir(store.root), [])
  })
}

test('fsck, gc, readonly: every report begins with the folder it is about', async (t) => {
  await using store = await storeWithGarbage()
  for (const args of [['fsck'], ['gc', '--dry-run'], ['readonly', 'status']])
    t.is((await run(args, store.root)).stdout.split('\n')[0], `store ${store.root}`)
  for (const args of [
    ['fsck', '--json'],
    ['gc', '--dry-run', '--json'],
  ])
    t.is(JSON.parse((await run(args, store.root)).stdout).rootdirectory, store.root)
})

for (const args of [['gc'], ['fsck', '--repair']]) {
  const line = args.join(' ')
  test(`${line}: a store that is read-only is left as it is, with 75 and the remedy`, async (t) => {
    await using store = await storeWithGarbage()
    const configured = await run(args, store.root, { readonly: true })
    t.is(configured.code, 75)
    t.regex(configured.stderr, /read-only.*storage\.maintenance\.readonly\.enabled/)
    await store.file(readonlyMark, '')
    const marked = await run(args, store.root)
    t.is(marked.code, 75)
    t.regex(marked.stderr, /read-only.*tidegate readonly off/)
    t.is(marked.stdout, '')
    t.true(await hasGarbage(store))
    const dry = await run([args[0] ?? '', ...(line === 'gc' ? ['--dry-run'] : [])], store.root)
    t.is(dry.code, 0)
  })
}

test('command line: what cannot be understood is 64, which nothing else is; help is 0', async (t) => {
  await using store = await createTestStore()
  for (const args of [['fsck', '--bogus'], [], ['nonsense'], ['readonly', 'maybe'], ['htpasswd']])
    t.is((await run(args, store.root)).code, 64, args.join(' '))
  for (const args of [['--help'], ['fsck', '--help'], ['--version']])
    t.is((await run(args, store.root)).code, 0, args.join(' '))
})

const asNobody = process.getuid?.() === 0 ? test : test.skip
asNobody('store commands: what only looks needs no right to write', async (t) => {
  await using store = await storeWithGarbage()
  // All that is below has the modes that everybody can read.
  await chmod(store.root, 0o555)
  const nobody = { uid: 65_534 }
  for (const args of [['fsck'], ['gc', '--dry-run'], ['readonly', 'status']]) {
    const { code, stderr } = await run(args, store.root, nobody)
    t.is(code, 0, stderr)
  }
  for (const args of [['fsck', '--repair'], ['gc'], ['readonly', 'on'], ['check']]) {
    const { code, stderr } = await run(args, store.root, nobody)
    t.is(code, 78)
    t.regex(stderr, /cannot be written by the user Tidegate runs as \(uid 65534\)/)
  }
  const { code, stderr } = await run(['check'], store.root, { ...nobody, readonly: true })
  t.is(code, 0, stderr)
})

test('check: a folder of the store that is a file is told as one', async (t) => {
  await using store = await createTestStore()
  const file = join(store.root, 'file')
  await writeFile(file, '')
  const { code, stderr } = await run(['check'], file)
  t.is(code, 78)
  t.regex(stderr, /rootdirectory: \S+\/file is a file, not a folder/)
})

asNobody(
  'check: a folder in the store that cannot be written is told before the first push',
  async (t) => {
    await using store = await createTestStore()
    await mkdir(join(store.root, 'docker/registry/v2/blobs'), { recursive: true })
    await chmod(store.root, 0o777)
    const { code, stderr } = await run(['check'], store.root, { uid: 65_534 })
    t.is(code, 78)
    t.regex(stderr, /\/docker\/registry\/v2 cannot be written by the user Tidegate runs as/)
  },
)

test('check: a link to a disk that is not mounted is no folder that can be made', async (t) => {
  await using store = await createTestStore()
  const link = join(store.root, 'link')
  await symlink(join(store.root, 'absent'), link)
  const { code, stderr } = await run(['check'], link)
  t.is(code, 78)
  t.regex(stderr, /\/link is a symbolic link to what does not exist; check the mount/)
})

test('fsck: a report that a full disk refuses is 74 in one line, never the code of damage', async (t) => {
  await using store = await storeWithGarbage()
  await using full = await open('/dev/full', 'w')
  const child = spawn(process.execPath, ['src/cli.ts', 'fsck'], {
    stdio: ['ignore', full.fd, 'pipe'],
    env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: store.root },
  })
  const [code, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.on('close', resolve)),
    child.stderr?.toArray(),
  ])
  t.is(code, 74)
  t.regex(String(stderr?.join('')), /^tidegate: standard output cannot be written: ENOSPC[^\n]*\n$/)
})

test('fsck: a reader of the report that has left is 74 without a word', async (t) => {
  await using store = await storeWithGarbage()
  const child = spawn(process.execPath, ['src/cli.ts', 'fsck'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: store.root },
  })
  child.stdout.destroy()
  const [code, stderr] = await Promise.all([
    new Promise<number | null>((resolve) => child.on('close', resolve)),
    child.stderr.toArray(),
  ])
  t.is(code, 74)
  t.is(stderr.join(''), '')
})
