import net from 'node:net'
import tls from 'node:tls'
import { largeBufferBytes } from '../lib/large-buffers.ts'
import { createReadBuffers, type Loan } from './read-buffers.ts'
import { createRecordPacker } from './record-packer.ts'

/** Where the upstream listens, and how to speak TLS to it when it does. */
export type UpstreamTarget = {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly tls: tls.ConnectionOptions | undefined
}

export type UpstreamSocket = {
  readonly socket: net.Socket
  /** Keeps `piece` past the `onBytes` call that delivered it, until its release is called. */
  keep(piece: Buffer): Loan
  /** No body is under way: memory that only bodies need is given away. */
  rest(): void
}

type SocketReader = {
  /** Received bytes, valid only during the call. */
  readonly onBytes: (bytes: Buffer) => void
  /** Bytes of body still to come, as far as anybody knows. */
  readonly remaining: () => number
}

/** Request body that may wait in the socket, see `createBodyWriter`. Both `connect` functions take it,
 *  and `tls.connect` takes `onread`; their types do not say so. */
const marks = { highWaterMark: 1024 * 1024 }
/** Time for what came before a failed write to be read. */
const readOnMs = 200
/** Response bytes that may wait in memory for a slow client: both large buffers, so that one is read into
 *  as soon as the other has been taken. */
const maxKeptBytes = 2 * largeBufferBytes

/**
 * Connects to the upstream and reads from it no faster than what was kept is released. The name is
 * looked up each time, so that a backend that came back under another address is found.
 */
export function openUpstreamSocket(target: UpstreamTarget, reader: SocketReader): UpstreamSocket {
  const upstream =
    target.tls === undefined
      ? openPlainSocket(target.address, reader)
      : openTlsSocket(target.address, target.tls, reader)
  readOnAfterWriteError(upstream.socket)
  return upstream
}

/**
 * Lets a failed write wait for the last bytes to be read. An upstream that refuses an upload answers
 * and closes; the next write then fails, Node destroys the socket for it, and the answer that lies in
 * the kernel's buffer would be lost: measured, one early 413 in six.
 */
function readOnAfterWriteError(socket: net.Socket): void {
  const destroy = socket.destroy.bind(socket)
  socket.destroy = (error?: NodeJS.ErrnoException) => {
    if (error?.syscall !== 'write') return destroy(error)
    setTimeout(destroy, readOnMs, error).unref()
    return socket
  }
}

/** Reads into our own buffers, reused: see `createReadBuffers`. */
function openPlainSocket(address: UpstreamTarget['address'], reader: SocketReader): UpstreamSocket {
  const buffers = createReadBuffers()
  const kept = createKeptCounter(() => buffers.isFree(next) && socket.resume())
  let next = buffers.small
  let filled = next

  const onRead = (length: number): boolean => {
    filled = next
    reader.onBytes(filled.subarray(0, length))
    next = buffers.next(reader.remaining())
    return buffers.isFree(next) && !kept.full
  }
  const socket = net.connect({
    ...address,
    noDelay: true,
    keepAlive: true,
    ...marks,
    onread: { buffer: () => next, callback: onRead },
  })
  return {
    socket,
    keep: (piece) => kept.count(buffers.lend(filled, piece)),
    rest() {
      kept.reset()
      buffers.retire()
    },
  }
}

/**
 * Reads through one small buffer, from which records are packed into the reused large ones: see
 * `createRecordPacker`.
 */
function openTlsSocket(
  address: UpstreamTarget['address'],
  options: tls.ConnectionOptions,
  reader: SocketReader,
): UpstreamSocket {
  const buffers = createReadBuffers()
  const mayRead = (): boolean => packer.hasRoom && !kept.full
  const kept = createKeptCounter(() => mayRead() && socket.resume())
  let filled = buffers.small

  const packer = createRecordPacker({
    buffers,
    expectedBytes: reader.remaining,
    deliver(buffer, length) {
      filled = buffer
      reader.onBytes(buffer.subarray(0, length))
      if (!mayRead()) socket.pause()
    },
  })
  const onRead = (length: number): boolean => {
    packer.add(length)
    return mayRead()
  }
  const reading = { ...marks, onread: { buffer: buffers.small, callback: onRead } }
  const socket = tls.connect({ ...options, ...address, ALPNProtocols: ['http/1.1'], ...reading })
  socket.setNoDelay(true).setKeepAlive(true)
  // What came before the end is delivered before it: these listeners are the first.
  socket.on('end', packer.flush).on('error', packer.flush)
  return {
    socket,
    keep: (piece) => kept.count(buffers.lend(filled, piece)),
    rest() {
      kept.reset()
      packer.drop()
      buffers.retire()
      // The last records of a body may have been delivered after a pause.
      socket.resume()
    },
  }
}

/**
 * Counts what is kept of the present body; calls `onRelease` for each release while little enough is.
 * What an earlier answer's client still holds must not hold up the next answer.
 */
function createKeptCounter(onRelease: () => void): KeptCounter {
  let present = { bytes: 0 }
  return {
    count(loan) {
      const body = present
      body.bytes += loan.bytes.length
      const release = (): void => {
        body.bytes -= loan.bytes.length
        loan.release()
        if (body.bytes <= maxKeptBytes / 2) onRelease()
      }
      return { bytes: loan.bytes, release }
    },
    reset() {
      present = { bytes: 0 }
    },
    get full() {
      return present.bytes > maxKeptBytes
    },
  }
}

type KeptCounter = { count(loan: Loan): Loan; reset(): void; readonly full: boolean }
