import type { ExecutionContext } from 'ava'
import type { Client } from './clients.ts'
import { basic, PASSWORD, USER } from './credentials.ts'
import { type Finished, must } from './process.ts'
import type { Tidegate } from './tidegate.ts'

export type RoundTrip = {
  /** The client of `team/app`. */
  readonly client: Client
  readonly tidegate: Tidegate
  /** The digest under which the registry has stored `team/app:v1`. */
  readonly storedDigest: () => Promise<string | undefined>
}

/** Asserts that a tool was refused, and told its user so in words that name the reason. */
function assertRefused(t: ExecutionContext, { code, stdout, stderr }: Finished): void {
  const output = stdout + stderr
  t.not(code, 0, output)
  t.regex(output, /unauthorized|invalid username\/password|authentication required|no basic auth/i)
  t.notRegex(output, /<html|invalid character|unexpected end/i)
}

/** Asserts that the log tells who pushed what, and holds no secret. */
function assertLogged(t: ExecutionContext, log: string): void {
  const lines = log.split('\n')
  const push = lines.find((line) => /"method":"PUT".*"reference":"v1"/.test(line)) ?? '{}'
  t.like(JSON.parse(push), { user: USER, repository: 'team/app', reference: 'v1', status: 201 })
  for (const secret of [PASSWORD, basic(PASSWORD).slice('Basic '.length), '_state']) {
    t.false(log.includes(secret), secret)
  }
}

/** Everything a person does with one tool: trust, log in, push, pull, log out. Ends Tidegate. */
export async function assertRoundTrip(t: ExecutionContext, stage: RoundTrip): Promise<void> {
  const { client, tidegate } = stage
  const untrusted = await client.login(PASSWORD)
  t.not(untrusted.code, 0)
  t.regex(untrusted.stderr, /x509: certificate signed by unknown authority/)

  await client.trust()
  assertRefused(t, await client.login('wrong'))
  const diffIds = await client.build()
  assertRefused(t, await client.push())

  must(await client.login(PASSWORD), 'login')
  must(await client.push(), 'push')
  await client.forget()
  must(await client.pull(), 'pull')
  const manifest = await stage.storedDigest()
  t.truthy(manifest)
  t.deepEqual<unknown, unknown>(await client.pulled(), { manifest, diffIds })

  must(await client.logout(), 'logout')
  await client.forget()
  assertRefused(t, await client.pull())
  t.is(await tidegate.stop(), 0)
  assertLogged(t, tidegate.log())
}
