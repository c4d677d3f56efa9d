/** Ctrl-C: the first one ends the running command cleanly, the second one ends the process. */
import { BackupAbortedError } from '../index.ts'
import { EXIT } from './exit-codes.ts'

/** The reason with which a command's signal is aborted. Printed when the command passes it on. */
export class Interrupted extends BackupAbortedError {
  readonly exitCode: number

  constructor(signalName: 'SIGINT' | 'SIGTERM') {
    super(`Interrupted by ${signalName} before the command ended`, { hint: 'Nothing is left half done; run the command again when you are ready' })
    this.exitCode = signalName === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
  }
}
