/** What tests of holds share: real destinations, a real catalog, a clock that a test moves. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Destination } from '../../src/contracts/destination.ts'
import { Holds } from '../../src/gc/holds/holds.ts'
import { Leases } from '../../src/gc/leases/leases.ts'
import { directoryCache } from '../../src/gc/leases/payload-ids-cache.ts'
import { sweepStateFile } from '../../src/gc/sweep-state.ts'
import { directoryUnionStore } from '../../src/gc/holds/union-store.ts'
import { newPlace, type Place } from '../backup/backups.ts'
import { tempDir } from '../support/temp-dir.ts'

export interface HoldsPlace extends Place {
  readonly holds: Holds
  readonly directory: string
  /** Moves the steady clock. */
  readonly pass: (ms: number) => void
}

export interface HoldsPlaceOptions {
  readonly destinations?: ((destination: Destination) => readonly Destination[]) | undefined
  readonly acknowledgeTimeoutMs?: number | undefined
}

export async function newHolds({ destinations = (destination) => [destination], acknowledgeTimeoutMs }: HoldsPlaceOptions = {}): Promise<HoldsPlace> {
  const place = await newPlace()
  // A destination that does not exist holds nothing anybody can know of.
  await mkdir(place.path, { mode: 0o700 })
  const directory = await tempDir()
  let nowMs = 1000
  const steadyClock = { epoch: 'test', nowMs: () => nowMs }
  const cache = directoryCache({ directory: join(directory, 'payload-ids') })
  const leases = new Leases({ catalog: place.catalog, cache, acknowledgeTimeoutMs, steadyClock })
  const holds = new Holds({ leases, destinations: destinations(place.destination), cache, unions: directoryUnionStore(join(directory, 'union')), stateOf: () => sweepStateFile(join(directory, 'marks')), steadyClock })
  return { ...place, holds, directory, pass: (ms) => void (nowMs += ms) }
}

