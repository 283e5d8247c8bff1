import { readFileSync } from 'node:fs'

/** Bit of CAP_SYS_ADMIN in the capability sets of capabilities(7). */
const SYS_ADMIN = 1n << 21n

/** True when this process may mount file systems: root, and not the reduced root of a container. */
export function mayMount(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return (BigInt(`0x${effective ?? '0'}`) & SYS_ADMIN) !== 0n
}
