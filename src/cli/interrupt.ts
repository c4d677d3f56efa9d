/** Ctrl-C: the first one ends the running command cleanly, the second one ends the process. */
import { BackupAbortedError } from '../index.ts'
import { EXIT } from './exit-codes.ts'

type EndingSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const CODES: Readonly<Record<EndingSignal, number>> = { SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: EXIT.hungUp }

/** The reason with which a command's signal is aborted. Printed when the command passes it on. */
export class Interrupted extends BackupAbortedError {
  readonly exitCode: number

  constructor(signalName: EndingSignal) {
    super(`Interrupted by ${signalName} before the command ended`, { hint: 'Nothing is left half done; run the command again when you are ready' })
    this.exitCode = CODES[signalName]
  }
}
