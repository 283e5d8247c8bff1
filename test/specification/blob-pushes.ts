import type { Content } from './content.ts'
import {
  type Answer,
  expect,
  patch,
  type Registry,
  type RequestOptions,
  startUpload,
  target,
} from './support.ts'

type Push = (registry: Registry, repo: string, content: Content) => Promise<Answer>

const headers = { 'Content-Type': 'application/octet-stream' }

function close(
  registry: Registry,
  location: string,
  { digest, ...options }: RequestOptions & { readonly digest: string },
): Promise<Answer> {
  const type = { ...headers, ...options.headers }
  return registry.request('PUT', target(registry, location, { digest }), {
    ...options,
    headers: type,
  })
}

/** Sends content in chunks, the last of them in the closing PUT if asked to. */
function chunked({
  count,
  lastInPut,
}: {
  readonly count: number
  readonly lastInPut: boolean
}): Push {
  return async (registry, repo, { bytes, digest }) => {
    const size = Math.ceil(bytes.length / count)
    let location = await startUpload(registry, repo)
    for (let first = 0; first < bytes.length; first += size) {
      const body = bytes.subarray(first, first + size)
      if (lastInPut && first + size >= bytes.length) {
        const range = { 'Content-Range': `${first}-${bytes.length - 1}` }
        return await close(registry, location, { digest, body, headers: range })
      }
      const answer = expect(await patch(registry, location, { first, body }), 202)
      location = target(registry, answer.header('location'))
    }
    return await close(registry, location, { digest, body: '' })
  }
}

/** Every way to push a blob. Each resolves to the answer that should be 201. */
export const ways: Readonly<Record<string, Push>> = {
  'a single POST': (registry, repo, { bytes, digest }) =>
    registry.request('POST', `/v2/${repo}/blobs/uploads/?digest=${digest}`, {
      headers,
      body: bytes,
    }),
  'POST and PUT': async (registry, repo, { bytes, digest }) =>
    await close(registry, await startUpload(registry, repo), { digest, body: bytes }),
  'one chunk': chunked({ count: 1, lastInPut: false }),
  'three chunks': chunked({ count: 3, lastInPut: false }),
  'three chunks, the last in the PUT': chunked({ count: 3, lastInPut: true }),
  async 'a stream'(registry, repo, { bytes, digest }) {
    const location = await startUpload(registry, repo)
    const middle = Math.floor(bytes.length / 2)
    const pieces = [bytes.subarray(0, middle), bytes.subarray(middle)]
    const answer = expect(await registry.request('PATCH', location, { headers, pieces }), 202)
    return await close(registry, target(registry, answer.header('location')), { digest, body: '' })
  },
}
