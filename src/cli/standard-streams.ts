import { systemExitCode } from './store-command.ts'

/**
 * What cannot be printed, as on a full disk, is one line and the exit code of a refusal, not a fault of
 * ours; a reader that has left, as `head` does, knows it. Nothing can be said where errors are printed.
 */
export function tolerateRefusedOutput(): void {
  process.stderr.on('error', () => {})
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exitCode = systemExitCode
    if (error.code !== 'EPIPE')
      process.stderr.write(`tidegate: standard output cannot be written: ${error.message}\n`)
  })
}
