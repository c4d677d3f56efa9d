/** How stores differ from S3, and what is done without. OPERATING.md has the same table. */
import type { DestinationWarning } from '../../src/contracts/destination.ts'

/** What Holdfast uses where a store has it. */
export type Capability = 'checksums' | 'conditionalPut' | 'conditionalComplete' | 'metadata' | 'growingParts' | 'lengths' | 'uploadList'

/** The warning for a store that has it not. */
const WITHOUT: Readonly<Record<Capability, DestinationWarning>> = {
  checksums: {
    code: 'checksums_ignored',
    message: 'The store does not compare checksums: bytes damaged in transit are found only when the backup is read back',
  },
  conditionalPut: {
    code: 'conditional_writes_ignored',
    message:
      'The store does not always honour "If-None-Match". Holdfast looks before it writes instead; ' +
      'two backups with the same ID at the same moment can miss each other',
  },
  conditionalComplete: {
    code: 'conditional_multipart_ignored',
    message:
      'The store does not honour "If-None-Match" when it completes a multipart upload. Holdfast looks before it does; ' +
      'two backups with the same ID at the same moment can miss each other',
  },
  metadata: {
    code: 'metadata_not_kept',
    message:
      'The store does not keep user metadata: after a lost answer Holdfast reads an object back to see whether it is its own; ' +
      'the objects that a failed upload leaves, which is never listed, stay until a clean-up',
  },
  growingParts: { code: 'equal_parts', message: 'All parts of an upload but the last have the same size: the largest stream is 10,000 of them' },
  lengths: { code: 'lengths_not_told', message: 'The store does not tell the length of an object when it is looked at: Holdfast asks the list for it' },
  uploadList: {
    code: 'uploads_not_listed',
    message: 'The store does not list incomplete multipart uploads: a clean-up cannot remove those that a crash leaves',
  },
}

/** `refused`: what asks for it fails, so that it is left out. `ignored`: it may be asked for, and may not be done. */
export type Support = 'unknown' | 'honoured' | 'ignored' | 'refused'

/** What is known of one store, from the probe of `validate` or from the first refusal. */
export class Capabilities {
  readonly #found = new Map<Capability, Support>()
  readonly #told = new Set<string>()

  of(capability: Capability): Support {
    return this.#found.get(capability) ?? 'unknown'
  }

  /** Whether to ask for it. */
  has(capability: Capability): boolean {
    return this.of(capability) !== 'refused'
  }

  /** Whether it is known to be missing. */
  lacks(capability: Capability): boolean {
    return this.of(capability) === 'refused' || this.of(capability) === 'ignored'
  }

  learn(capability: Capability, support: Support): void {
    this.#found.set(capability, support)
  }

  /** A warning for each that is missing. All count as told. */
  warnings(): readonly DestinationWarning[] {
    const missing = Object.entries(WITHOUT).flatMap(([capability, warning]) => (this.lacks(capability as Capability) ? [warning] : []))
    for (const { code } of missing) this.#told.add(code)
    return missing
  }

  /** The warnings that were not told yet. */
  takeWarnings(): readonly DestinationWarning[] {
    const told = new Set(this.#told)
    return this.warnings().filter(({ code }) => !told.has(code))
  }
}
