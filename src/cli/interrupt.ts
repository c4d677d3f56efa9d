/** Ctrl-C: the first one ends the running command cleanly, the second one ends the process. */
import { BackupAbortedError } from '../index.ts'
import { EXIT } from './exit-codes.ts'

/** The reason a command's signal is aborted with; also what is printed where the command passes the reason on. */
export class Interrupted extends BackupAbortedError {
  readonly exitCode: number

  constructor(signalName: 'SIGINT' | 'SIGTERM') {
    super(`Interrupted by ${signalName} before the command ended`, { hint: 'Nothing is left half done; run the command again when it suits' })
    this.exitCode = signalName === 'SIGINT' ? EXIT.interrupted : EXIT.terminated
  }
}
