// Prints the figures of docs/performance.md: `npm run measure`. Takes a few minutes and 10 GiB of traffic
// over loopback; nothing is written to disk. A measurement, not a test: nothing fails here.
import { once } from 'node:events'
import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import bcrypt from 'bcryptjs'
import {
  download,
  type FrontProcess,
  startFrontProcess,
  upload,
} from '../test/support/front-process.ts'

const gibibyte = 1024 ** 3
const size = Number(process.argv[2] ?? 10) * gibibyte
const blob = `/v2/team/app/blobs/sha256:${'a'.repeat(64)}`

const worker = new Worker(new URL('../test/support/bulk-backend.ts', import.meta.url), {
  workerData: { bytes: size },
})
const [{ port }] = await once(worker, 'message')
const upstream = `http://127.0.0.1:${port}`

console.log('| figure | measured |\n|---|---|')
await measureStream('upload', (front) =>
  upload(front, { path: '/v2/a/blobs/uploads/1', bytes: size }),
)
await measureStream('download', (front) => download(front, { path: blob }))
await measureLogins()
await worker.terminate()

async function measureStream(
  name: string,
  run: (front: FrontProcess) => Promise<number>,
): Promise<void> {
  await using front = await startFrontProcess(upstream)
  const idle = await front.memory()
  const written = await front.writtenToDisk()
  const cpu = await front.cpuSeconds()
  await run(front)
  const perGiB = ((await front.cpuSeconds()) - cpu) / (size / gibibyte)
  const growth = ((await front.peakMemory()) - idle) / 1024 ** 2
  row(`${size / gibibyte} GiB ${name}: peak memory above idle`, `${growth.toFixed(0)} MiB`)
  row(
    `${size / gibibyte} GiB ${name}: written to disk`,
    `${(await front.writtenToDisk()) - written} bytes`,
  )
  row(`${size / gibibyte} GiB ${name}: CPU of the front`, `${perGiB.toFixed(2)} s/GiB`)
}

async function measureLogins(): Promise<void> {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-'))
  const path = join(directory.path, 'htpasswd')
  const users = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank'].map(
    (user) => `${user}:${bcrypt.hashSync(`${user}!`, 10)}`,
  )
  await writeFile(path, `${users.join('\n')}\n`)
  await using front = await startFrontProcess(
    upstream,
    `auth: {htpasswd: {realm: r, path: ${path}}}\n`,
  )
  const agent = new Agent({ keepAlive: true, maxSockets: 100, ca: front.ca })
  const ask = async (user: string, password: string): Promise<number> => {
    const auth = `${user}:${password}`
    const req = request({
      agent,
      port: front.port,
      host: 'localhost',
      family: 4,
      path: '/v2/_none/x',
      method: 'OPTIONS',
      auth,
    })
    const [res] = await once(req.end(), 'response')
    for await (const _ of res);
    return res.statusCode
  }
  const timed = async (user: string, password = `${user}!`): Promise<number> => {
    const start = performance.now()
    await ask(user, password)
    return performance.now() - start
  }
  // Connections first: the cost of 80 TLS handshakes is not what is asked here.
  await Promise.all(Array.from({ length: 80 }, () => ask('alice', 'alice!')))
  const cpu = await front.cpuSeconds()
  const start = performance.now()
  for (let round = 0; round < 100; round += 1) {
    await Promise.all(Array.from({ length: 10 }, () => ask('alice', 'alice!')))
  }
  row('first login of a user, bcrypt cost 10', `${(await timed('bob')).toFixed(0)} ms`)
  const spent = (await front.cpuSeconds()) - cpu
  row(
    '1,000 requests with that login after it',
    `${(performance.now() - start).toFixed(0)} ms, ${spent.toFixed(2)} CPU s`,
  )

  const during = async (user: string, guessed: (index: number) => string): Promise<string> => {
    const guesses = Array.from({ length: 64 }, (_, index) => ask(guessed(index), `wrong${index}`))
    const delay = await timed(user)
    await Promise.all(guesses)
    return `${delay.toFixed(0)} ms`
  }
  row('remembered login during 64 wrong ones', await during('alice', () => 'carol'))
  row('first login during 64 wrong ones for another user', await during('dave', () => 'carol'))
  row('first login during 64 wrong ones for the same user', await during('erin', () => 'erin'))
  row(
    'first login during 64 wrong ones for 64 users',
    await during('frank', (index) => `user${index}`),
  )
  agent.destroy()
}

function row(figure: string, measured: string): void {
  console.log(`| ${figure} | ${measured} |`)
}
