import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../../src/config/load.ts'
import type { Config } from '../../../src/config/schema.ts'
import { StartupError } from '../../../src/lib/startup-error.ts'

type Loaded = { config: Config; warnings: string[] }

/**
 * Loads `contents` as a file, or only the variables; the file's path reads `config.yml` in warnings.
 * The warning that nobody is asked for a password, which most would have, is left out.
 */
export async function load(
  contents: string | Uint8Array | undefined,
  env: Record<string, string> = {},
): Promise<Loaded> {
  if (contents === undefined) return withoutOpen(await loadConfig({ env }))
  await using directory = await mkdtempDisposable(join(tmpdir(), 'tidegate-config-'))
  const file = join(directory.path, 'config.yml')
  await writeFile(file, contents)
  try {
    const { config, warnings } = withoutOpen(await loadConfig({ file, env }))
    return { config, warnings: warnings.map((line) => line.replaceAll(file, 'config.yml')) }
  } catch (error) {
    if (!(error instanceof StartupError)) throw error
    throw new StartupError(error.problems.map((line) => line.replaceAll(file, 'config.yml')))
  }
}

function withoutOpen({ config, warnings }: Loaded): Loaded {
  return { config, warnings: warnings.filter((line) => !line.includes('nobody is asked')) }
}

/** Every problem of what should not load. */
export async function problemsOf(
  contents: string | Uint8Array | undefined,
  env: Record<string, string> = {},
): Promise<readonly string[]> {
  try {
    await load(contents, env)
  } catch (error) {
    if (error instanceof StartupError) return error.problems
    throw error
  }
  throw new Error('this configuration loads')
}

/** The least that loads. */
export const UPSTREAM = 'upstream: {url: http://registry:5000}\n'
