import { PRIVATE_NAMES } from './certificates.ts'
import {
  type Client,
  type ClientOptions,
  createBuildah,
  createPodman,
  createSkopeo,
} from './clients.ts'
import { createDocker } from './docker-client.ts'
import { nonLoopbackAddress, startDockerd } from './dockerd.ts'
import type { Peer } from './peers.ts'
import { openSandbox } from './sandbox.ts'

/** A container tool in a sandbox of its own. */
export type Tool = AsyncDisposable & {
  /** Where a server must listen for the tool to reach it. */
  readonly address: string
  /** Two names of that address. */
  readonly names: readonly [string, string]
  readonly createClient: (options: Omit<ClientOptions, 'sandbox'>) => Client
}

async function openTool(create: (options: ClientOptions) => Client): Promise<Tool> {
  const sandbox = await openSandbox()
  return {
    address: '127.0.0.1',
    names: ['localhost', '127.0.0.1'],
    createClient: (options) => create({ ...options, sandbox }),
    [Symbol.asyncDispose]: () => sandbox[Symbol.asyncDispose](),
  }
}

async function openDocker(): Promise<Tool> {
  const daemon = await startDockerd()
  return {
    address: nonLoopbackAddress(),
    names: PRIVATE_NAMES,
    createClient: (options) => createDocker(daemon.socket, { ...options, sandbox: daemon }),
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  }
}

/** The container tools that every kind of registry is tested with, and how to open each. */
export const tools: readonly (readonly [peer: Peer, open: () => Promise<Tool>])[] = [
  ['skopeo', () => openTool(createSkopeo)],
  ['podman', () => openTool(createPodman)],
  ['buildah', () => openTool(createBuildah)],
  ['docker', openDocker],
]
