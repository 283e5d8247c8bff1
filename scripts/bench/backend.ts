import { join } from 'node:path'
import type { Server, Workspace } from './workspace.ts'

const program = join(import.meta.dirname, 'bulk-backend.ts')

/** A backend that discards uploads and answers every GET with `bytes` of zeros. Resolves to its URL. */
export async function startBulkBackend(
  { certificate, key, serve }: Workspace,
  { bytes, isTls = false }: { readonly bytes: number; readonly isTls?: boolean },
): Promise<string> {
  const pair = isTls ? [certificate, key] : []
  const { port } = await serve({
    name: 'backend',
    command: (free) => [process.execPath, program, String(free), String(bytes), ...pair],
  })
  return `${isTls ? 'https' : 'http'}://127.0.0.1:${port}`
}

/** Plain HTTP address of a backend. */
export function plainUrlOf({ port }: Pick<Server, 'port'>): string {
  return `http://127.0.0.1:${port}`
}
