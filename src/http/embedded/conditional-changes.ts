import { type Digest, isDigest } from '../../lib/digest.ts'
import { RegistryError } from '../../lib/errors.ts'
import { createTurns } from '../../lib/turns.ts'
import type { Manifests } from '../../registry/manifests/manifests.ts'
import type { RoutedExchange } from '../exchange.ts'
import { isConditional, requireExpected } from './conditions.ts'
import type { RouteOf } from './endpoint.ts'

type Target = RouteOf<'manifest'>

/** Makes changes of manifests and tags depend on what is there; RFC 9110 section 13.1. */
export type Conditions = {
  /** Refuses what would be refused anyhow before its body is read. @throws PRECONDITION_FAILED */
  requireDue(exchange: RoutedExchange, target: Target): Promise<void>
  /**
   * Makes the change if its condition is true right before. Of several that depend on the same thing
   * one at a time is made, so that only the first of this process can be right.
   * @throws PRECONDITION_FAILED
   */
  ifDue<R>(exchange: RoutedExchange, target: Target, change: () => Promise<R>): Promise<R>
}

export function createConditions(manifests: Pick<Manifests, 'get'>): Conditions {
  const inTurn = createTurns()

  const currentDigest = async ({ name, reference }: Target): Promise<Digest | undefined> => {
    try {
      const { digest } = await manifests.get(name, reference)
      return isDigest(reference) ? reference : digest
    } catch (error) {
      if (error instanceof RegistryError && error.code === 'MANIFEST_UNKNOWN') return undefined
      throw error
    }
  }
  const requireDue: Conditions['requireDue'] = async ({ req }, target) => {
    if (!isConditional(req)) return
    const digest = await currentDigest(target)
    // A condition does not count where the answer is a 404 without it; RFC 9110 section 13.2.1.
    if (digest === undefined && req.method === 'DELETE') return
    requireExpected(req, digest)
  }

  return {
    requireDue,
    async ifDue(exchange, target, change) {
      if (!isConditional(exchange.req)) return await change()
      return await inTurn(`${target.name}:${target.reference}`, async () => {
        await requireDue(exchange, target)
        return await change()
      })
    },
  }
}
