import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import bcrypt from 'bcryptjs'
import { plainUrlOf } from '../backend.ts'
import type { Case } from '../case.ts'
import { startSmallBackend } from '../fronts/nginx.ts'
import { startTidegate } from '../fronts/tidegate.ts'
import type { Workspace } from '../workspace.ts'

const users = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank']
const guesses = 64

/**
 * What a login costs with bcrypt of cost 10, alone and beside wrong ones from the same address, over
 * connections that are already open.
 */
export const logins: Case = {
  name: 'logins',
  title: `Logins, bcrypt cost 10, alone and beside ${guesses} wrong ones at once`,
  programs: ['nginx'],
  goals: [],
  async run({ workspace, alternate }) {
    const htpasswd = join(workspace.folder, 'many-users')
    writeFileSync(
      htpasswd,
      users.map((user) => `${user}:${bcrypt.hashSync(`${user}!`, 10)}\n`).join(''),
    )
    const upstream = plainUrlOf(await startSmallBackend(workspace))
    return await alternate([{ name: 'tidegate' }], async () => {
      // What is remembered of a login goes with the process.
      const front = await startTidegate({ ...workspace, htpasswd }, { upstream, hasUsers: true })
      using client = createClient(workspace, front.port)
      const sample = await measureLogins(client)
      await front.stop()
      return sample
    })
  },
}

type Client = Disposable & { ask(user: string, password?: string): Promise<void> }

function createClient({ authority }: Workspace, port: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 100, ca: readFileSync(authority) })
  return {
    async ask(user, password = `${user}!`) {
      const options = { agent, port, host: '127.0.0.1', path: '/v2/', auth: `${user}:${password}` }
      const [res] = await once(request(options).end(), 'response')
      for await (const _ of res);
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

async function measureLogins({ ask }: Client): Promise<Record<string, number>> {
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const start = performance.now()
    await work()
    return performance.now() - start
  }
  const beside = async (user: string, guessed: (index: number) => string): Promise<number> => {
    const wrong = Array.from({ length: guesses }, (_, index) => ask(guessed(index), `no${index}`))
    const ms = await timed(() => ask(user))
    await Promise.all(wrong)
    return ms
  }
  await Promise.all(Array.from({ length: 80 }, () => ask('alice')))
  return {
    'ms first login': await timed(() => ask('bob')),
    'ms remembered login': await timed(() => ask('bob')),
    'ms remembered beside wrong ones': await beside('alice', () => 'carol'),
    'ms first beside wrong ones of another': await beside('dave', () => 'carol'),
    'ms first beside wrong ones of the same': await beside('erin', () => 'erin'),
    'ms first beside wrong ones of 64 others': await beside('frank', (index) => `user${index}`),
  }
}
