import { parseDigest } from '../../../../src/lib/digest.ts'
import { RegistryError } from '../../../../src/lib/errors.ts'
import type { UploadId } from '../../../../src/lib/names.ts'
import { createFilesystemDriver } from '../../../../src/storage/filesystem.ts'
import { createFeed, repo, serve } from './support.ts'

/*
 * Another process on the same folder, for tests: it is sent orders and answers each with what came of
 * it. `hold` begins an append whose client stands still after `text`, and answers when that is stored.
 */
export type Order =
  | { readonly kind: 'append'; readonly id: string; readonly text: string; readonly first?: number }
  | { readonly kind: 'hold'; readonly id: string; readonly text: string }
  | { readonly kind: 'end' }
  | {
      readonly kind: 'finish'
      readonly id: string
      readonly digest: string
      readonly text?: string
    }

const [root = ''] = process.argv.slice(2)
const { uploads } = serve(createFilesystemDriver({ root }))
const held = createFeed()
let holding: Promise<unknown> | undefined

async function obey(order: Order): Promise<unknown> {
  switch (order.kind) {
    case 'append': {
      const { text, first } = order
      const chunk = {
        source: sourceOfText(text),
        ...(first !== undefined && { range: { first, last: first + text.length - 1 } }),
      }
      return await uploads.append(repo, order.id as UploadId, chunk, () => {})
    }
    case 'hold': {
      held.push(order.text)
      const accepted = Promise.withResolvers<void>()
      holding = uploads.append(repo, order.id as UploadId, { source: held }, accepted.resolve)
      holding.catch(() => {})
      return await accepted.promise
    }
    case 'end':
      held.end()
      return await holding
    case 'finish': {
      const { text } = order
      const last = {
        digest: parseDigest(order.digest),
        ...(text !== undefined && { chunk: { source: sourceOfText(text) } }),
      }
      return await uploads.finish(repo, order.id as UploadId, last, () => {})
    }
  }
}

function sourceOfText(text: string) {
  const feed = createFeed()
  feed.push(text)
  feed.end()
  return feed
}

process.on('message', (order: Order) => {
  obey(order).then(
    (value) => process.send?.({ value }),
    (error) => process.send?.({ error: error instanceof RegistryError ? error.code : `${error}` }),
  )
})
process.send?.({ value: 'ready' })
