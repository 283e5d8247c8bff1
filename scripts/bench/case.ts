import type { Server, Workspace } from './workspace.ts'

/** What one measurement of one front gave, by the name of the figure, its unit included. */
export type Sample = Readonly<Record<string, number>>

/** Samples of each front, one for each round, in the order of the rounds. */
export type Results = Readonly<Record<string, readonly Sample[]>>

/** How much is done. `--smoke` makes all of it tiny. */
export type Scale = {
  readonly rounds: number
  /** Bytes of one streamed body. */
  readonly bytes: number
  /** Bytes of one pushed or pulled blob. */
  readonly blobBytes: number
  /** Bytes that pass each server before streams are measured: V8 optimizes a process for 3 GiB. */
  readonly warmUpBytes: number
  /** Bytes of the layer that must not show in memory. */
  readonly layerBytes: number
  /** Time of one measurement of small requests. */
  readonly seconds: number
  /** Repositories, or tags, of a large store. */
  readonly names: number
  readonly idleConnections: number
  readonly stalledConnections: number
}

export type Bench = {
  readonly workspace: Workspace
  readonly scale: Scale
  /** Measures each front once a round, in turn, and `warmUps` times (1) in vain before. */
  alternate<Front extends Pick<Server, 'name'>>(
    fronts: readonly Front[],
    measure: (front: Front) => Promise<Sample>,
    warmUps?: number,
  ): Promise<Results>
}

/** A row of the table of docs/performance.md. */
export type Goal = {
  readonly what: string
  readonly figure: string
  /** Name of the front that is judged. */
  readonly of: string
  /** Name of the front it is divided by. Without it the figure itself is judged. */
  readonly than?: string
  readonly target: number
  readonly better: 'higher' | 'lower'
}

export type Case = {
  readonly name: string
  readonly title: string
  /** Programs that must be installed. */
  readonly programs: readonly string[]
  readonly goals: readonly Goal[]
  /** Starts what it needs in the workspace, which ends it. */
  run(bench: Bench): Promise<Results>
}
