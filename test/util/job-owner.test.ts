import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { hasEnded, mayBeUnderWay, thisProcess } from '../../src/util/job-owner.ts'

test.skipIf(process.platform !== 'linux')('hasEnded() takes a process that died and that its parent never asked after for one that has ended', async () => {
  // The shell becomes a program that asks after no children.
  const parent = spawn('sh', ['-c', 'sh -c "read line" <&3 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] })
  try {
    const [printed] = (await once(parent.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
    const pid = Number(printed.toString())
    const fields = (): readonly string[] => readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')
    const owner = { ...thisProcess(), pid, start: fields()[19] ?? '' }
    expect([hasEnded('work', owner), mayBeUnderWay('work', owner)]).toEqual([false, true])
    parent.stdio[3]?.destroy()
    while (fields()[0] !== 'Z') await delay(10)
    expect([hasEnded('work', owner), mayBeUnderWay('work', owner)]).toEqual([true, false])
  } finally {
    parent.kill('SIGKILL')
  }
})
