import test, { type ExecutionContext } from 'ava'
import { isInstalled } from '../../support/installed.ts'
import { mayMount } from './privilege.ts'

/** A foreign program that tests run for real. `scripts/install-peers.sh` installs them all. */
export type Peer =
  | 'docker-registry'
  | 'skopeo'
  | 'podman'
  | 'buildah'
  | 'docker'
  | 'htpasswd'
  | 'openssl'
  | 'nginx'
  | 'chromium'
  | 'curl'
  | 'haproxy'
  | 'caddy'
  | 'wrk'

/** Programs a peer consists of, where that is not one program of the same name. */
const programs: Partial<Record<Peer, readonly string[]>> = { docker: ['docker', 'dockerd'] }

/** Peers that mount file systems. */
const mounting: ReadonlySet<Peer> = new Set(['podman', 'buildah', 'docker'])

/** Why `peer` cannot be used here, as a short clause; undefined when it can. */
function obstacle(peer: Peer): string | undefined {
  const missing = (programs[peer] ?? [peer]).find((program) => !isInstalled(program))
  if (missing !== undefined) return `${missing} is not installed`
  if (mounting.has(peer) && !mayMount()) return `${peer} needs root, with leave to mount`
  return undefined
}

/**
 * Registers a serial test that needs foreign programs. Where one is missing the test is skipped and
 * its title says why; with `TIDEGATE_REQUIRE_PEERS=1` (continuous integration) it fails instead.
 */
export function peerTest(
  peers: readonly Peer[],
  title: string,
  implementation: (t: ExecutionContext) => Promise<void>,
): void {
  const reason = peers.map(obstacle).find((clause) => clause !== undefined)
  if (reason === undefined) test.serial(title, implementation)
  else if (process.env['TIDEGATE_REQUIRE_PEERS'] === '1') {
    test.serial(`${title} (${reason})`, (t) => t.fail(`${reason}: run npm run peers as root`))
  } else test.serial.skip(`${title} (skipped: ${reason})`, implementation)
}
