import { IncomingMessage } from 'node:http'

/** A piece of body up to this long costs more memory for itself than for what is in it. */
const smallBytes = 512
const gatheredBytes = 4096

/**
 * A request whose body costs what its bytes do. Not for whoever sets an encoding, listens to `readable` or
 * asks how much can be read.
 *
 * While nobody has paused it, a piece goes to the `data` listeners as it comes off the parser. Node would
 * ask after each, of which TLS makes 65,536 a GiB, whether to read more, on another tick; the socket flows
 * anyway, and this saves an upload an eighth of its user time.
 *
 * While it is paused, small pieces are gathered: Node counts the 64 KiB that it lets wait in bytes of
 * content, and as chunks of one byte they would take 30 MiB.
 */
export class ServerMessage extends IncomingMessage {
  #gathered: Buffer | undefined
  #end = 0

  override push(piece: Buffer | null): boolean {
    if (piece === null || this.destroyed) {
      this.#release()
      return super.push(piece)
    }
    const isEmpty = this.readableLength === 0 && this.#end === 0
    if (this.readableFlowing === true && isEmpty) {
      this.emit('data', piece)
      return true
    }
    if (piece.length <= smallBytes) return this.#gather(piece)
    this.#release()
    return super.push(piece)
  }

  override read(size?: number): unknown {
    // Node asks for 0 bytes to see whether more should come; whoever reads wants all there is.
    if (size !== 0) this.#release()
    return super.read(size)
  }

  override destroy(error?: Error): this {
    // What had arrived can still be read from a destroyed stream, but nothing added to it.
    this.#release()
    return super.destroy(error)
  }

  #gather(piece: Buffer): boolean {
    const mayComeMore = this.#end + piece.length > gatheredBytes ? this.#release() : true
    this.#gathered ??= Buffer.allocUnsafeSlow(gatheredBytes)
    piece.copy(this.#gathered, this.#end)
    this.#end += piece.length
    return mayComeMore
  }

  #release(): boolean {
    const bytes = this.#gathered?.subarray(0, this.#end)
    this.#gathered = undefined
    this.#end = 0
    return bytes === undefined ? true : super.push(bytes)
  }
}
