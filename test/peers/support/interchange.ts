import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Api, createApi } from './api.ts'
import { type Images, makeImages } from './images.ts'
import { must } from './process.ts'
import { startRegistry } from './registry.ts'
import { openSandbox } from './sandbox.ts'
import { startTidegate, type Tidegate } from './tidegate.ts'

/** One of the two registries, over plain HTTP. */
export type Served = AsyncDisposable & { readonly url: string; readonly api: Api }

export type Interchange = AsyncDisposable & {
  /** The folder that both of them serve, and nothing else changes. */
  readonly store: string
  /** Images that have no layer in common. */
  readonly images: readonly [Images, Images]
  /** Serves the folder with docker-registry; the caller stops it. */
  readonly registry: () => Promise<Served>
  /** Serves the folder with Tidegate; the caller stops it. */
  readonly tidegate: () => Promise<Served & { readonly tidegate: Tidegate }>
  /** Pushes an image or an index with skopeo, as it is unless `flags` say otherwise. */
  readonly push: (
    to: Served,
    image: readonly [images: Images, name: string],
    reference: string,
    ...flags: readonly string[]
  ) => Promise<void>
}

/** An empty folder, two registries that can serve it, and images to push. */
export async function openInterchange(): Promise<Interchange> {
  await using stack = new AsyncDisposableStack()
  const folder = async (prefix: string): Promise<string> =>
    stack.use(await mkdtempDisposable(join(tmpdir(), prefix))).path
  const store = await folder('store-')
  const images = [
    await makeImages(await folder('images-'), [1, 2]),
    await makeImages(await folder('images-'), [1]),
  ] as const
  const sandbox = stack.use(await openSandbox())
  const owned = stack.move()
  return {
    store,
    images,
    registry: async () => {
      const registry = await startRegistry({ store })
      return { ...registry, api: createApi(registry) }
    },
    tidegate: async () => {
      const tidegate = await startTidegate({ store })
      const url = `http://127.0.0.1:${tidegate.port}`
      const stop = () => tidegate[Symbol.asyncDispose]()
      return { url, tidegate, api: createApi({ url }), [Symbol.asyncDispose]: stop }
    },
    push: async ({ url }, [{ layout }, name], reference, ...flags) => {
      const target = `docker://${new URL(url).host}/${reference}`
      const args = ['copy', '--all', '--dest-tls-verify=false', ...flags]
      must(await sandbox.run('skopeo', [...args, `oci:${layout}:${name}`, target]), target)
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Does something with a registry that is started for it and stopped afterwards. */
export async function during<S extends Served, T>(
  serve: () => Promise<S>,
  act: (served: S) => Promise<T>,
): Promise<T> {
  await using served = await serve()
  return await act(served)
}
