import { parentPort } from 'node:worker_threads'
import { verifyPassword } from './password-hash.ts'

/** What a worker is asked; it answers with a boolean. One question at a time. */
export type Verification = { readonly password: string; readonly hash: string }

parentPort?.on('message', ({ password, hash }: Verification) => {
  parentPort?.postMessage(verifyPassword(password, hash))
})
