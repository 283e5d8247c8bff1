// A process that serves clients for its parent, the primary (app-primary.ts), and does what that says.

import cluster from 'node:cluster'

/** What `cluster` cannot tell a primary that is gone is no fault of ours: `disconnect` follows. */
cluster.worker?.on('error', () => {})

/**
 * Signals for all processes of a terminal or a service reach workers too. They are for the primary,
 * which tells the workers what to do; one that is to go alone has to be killed. Ignored before anything
 * else is loaded, which takes a good part of a second.
 */
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
  process.on(signal, () => {})
}

const { followPrimary } = await import('./app-worker.ts')
followPrimary()
