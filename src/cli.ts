#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { checkApp } from './app-parts.ts'
import { collectionOf, openDriver, requireExisting } from './app-store.ts'
import { registerFsckCommand } from './cli/fsck.ts'
import { registerGcCommand } from './cli/gc.ts'
import { registerHtpasswdCommands } from './cli/htpasswd.ts'
import { registerQuickstartCommand } from './cli/quickstart.ts'
import { registerReadonlyCommand } from './cli/readonly.ts'
import { configExitCode, serve } from './cli/serve.ts'
import { tolerateRefusedOutput } from './cli/standard-streams.ts'
import { loadConfig } from './config/load.ts'
import { formatConfig } from './config/print.ts'
import { StartupError } from './lib/startup-error.ts'
import { createLog } from './observability/log.ts'

// Disk work waits in libuv's threads, of which there are four: as many large layers that are brought to the
// disk would keep every pull waiting. This counts only as long as nothing has used them.
process.env['UV_THREADPOOL_SIZE'] ??= '16'

tolerateRefusedOutput()

/** Exit code of a command line that cannot be understood; sysexits EX_USAGE. */
const usageExitCode = 64

type ServeFlags = { upstream?: string; addr?: string }

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

/** How the person who reads our advice can type a command of ours. */
const commandName = import.meta.filename.endsWith('.ts') ? 'npx node src/cli.ts' : 'tidegate'

const program = new Command()
  .name('tidegate')
  .description(
    'A container registry with its front, or the front alone: TLS, passwords, CORS and correct ' +
      'Location headers, over a registry:2 data folder or in front of another registry. ' +
      'Configured by a registry:2 config.yml and the same REGISTRY_* variables.',
  )
  .version(version)
  .configureHelp({ showGlobalOptions: true })
  // By default commander ends the process with 1, which `fsck` has for damage.
  .exitOverride()

configuredCommand('serve')
  .summary('serve as the configuration says')
  .description(
    'Serve as the configuration says, until SIGTERM or SIGINT; requests in flight may finish.',
  )
  .action(async (file: string | undefined, flags: ServeFlags) => {
    const { config, warnings } = await load(file, flags)
    await serve(config, warnings)
  })

configuredCommand('check')
  .summary('check the configuration and the files it names')
  .description(
    'Check the configuration and every file it names as a start would, and print what is in effect, ' +
      'secrets masked. Exits with 78 if it would not start.',
  )
  .action(async (file: string | undefined, flags: ServeFlags) => {
    const { config, warnings } = await load(file, flags)
    for (const warning of warnings) console.error(`warning: ${warning}`)
    const log = createLog({ level: 'warn', formatter: 'text', fields: {} }, process.stderr)
    await checkApp(config, log)
    process.stdout.write(formatConfig(config))
  })

registerQuickstartCommand(program, {
  commandName,
  serve,
  print: (lines) => console.log(lines.join('\n')),
})
registerHtpasswdCommands(program)
for (const register of [registerGcCommand, registerFsckCommand, registerReadonlyCommand]) {
  register(program, async (file, use) => {
    const { config } = await load(file, {})
    if (config.upstream !== undefined) return { upstream: config.upstream.url }
    const driver = await openDriver(config, use)
    await requireExisting(config)
    return {
      driver,
      rootdirectory: config.storage.filesystem.rootdirectory,
      readonly: config.storage.maintenance.readonly.enabled,
      gc: collectionOf(config),
    }
  })
}

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = exitCodeOf(error)
}

/** Says what the operator has to mend, and how a shell can tell. Anything else is a fault of ours. */
function exitCodeOf(error: unknown): number {
  // It has been printed, as has help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : usageExitCode
  if (!(error instanceof StartupError)) throw error
  for (const problem of error.problems) console.error(`tidegate: ${problem}`)
  return configExitCode
}

/** A command that takes a configuration, the same way as the others do. */
function configuredCommand(name: string): Command {
  return program
    .command(name)
    .argument(
      '[config]',
      'configuration file; without one REGISTRY_CONFIGURATION_PATH and REGISTRY_* count',
    )
    .option('--upstream <url>', 'forward to this registry instead of being one (upstream.url)')
    .option('--addr <host:port>', 'where to listen (http.addr)')
}

function load(
  file: string | undefined,
  { upstream, addr }: ServeFlags,
): ReturnType<typeof loadConfig> {
  return loadConfig({
    ...(file !== undefined && { file }),
    env: process.env,
    overrides: { 'upstream.url': upstream, 'http.addr': addr },
  })
}
