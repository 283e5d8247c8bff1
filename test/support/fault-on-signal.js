import cluster from 'node:cluster'

// Loaded into a server by NODE_OPTIONS: SIGWINCH is a fault of ours in the worker that gets it.
if (cluster.isWorker) {
  process.on('SIGWINCH', () => {
    throw new Error('a fault on demand')
  })
}
