import { parentPort } from 'node:worker_threads'
import { verifyPassword } from './password-hash.ts'

/** What a worker is asked, one question at a time. */
export type Verification = { readonly password: string; readonly hash: string }

/** Its answer, and how long finding it took. */
export type Verdict = { readonly matches: boolean; readonly elapsedMs: number }

parentPort?.on('message', ({ password, hash }: Verification) => {
  const start = performance.now()
  const matches = verifyPassword(password, hash)
  parentPort?.postMessage({ matches, elapsedMs: performance.now() - start } satisfies Verdict)
})
