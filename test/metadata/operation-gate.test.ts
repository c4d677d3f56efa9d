import { describe, expect, it } from 'vitest'
import { GATE_STATES, OperationGate } from '../../src/metadata/operation-gate.ts'
import { deferred } from '../support/deferred.ts'

const SOON_MS = 20
const LATE_MS = 30_000

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending')
  return (await Promise.race([promise, new Promise((resolve) => setTimeout(resolve, SOON_MS, pending))])) === pending
}

describe('OperationGate', () => {
  it('open: lets reads and writes through, and gives what they give', async () => {
    const gate = new OperationGate()
    expect(await gate.run('read', async () => 1)).toBe(1)
    await expect(gate.run('write', () => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
    expect(gate.inFlight).toBe(0)
    expect(gate.state).toBe(GATE_STATES[0])
  })

  it('narrow to reads-only: refuses new writes at once, lets reads through, waits for the writes in flight only', async () => {
    const gate = new OperationGate()
    const [read, write] = [deferred(), deferred()]
    const reading = gate.run('read', () => read.promise)
    const writing = gate.run('write', () => write.promise)
    const drained = gate.narrow('reads-only', { timeoutMs: LATE_MS })
    await expect(gate.run('write', async () => 1)).rejects.toMatchObject({ code: 'restore_in_progress', retryable: true })
    expect(await gate.run('read', async () => 2)).toBe(2)
    expect(await isPending(drained)).toBe(true)
    write.resolve()
    await drained
    expect(gate.inFlight).toBe(1)
    read.resolve()
    await Promise.all([reading, writing])
  })

  it('narrow to closed: holds back every operation until open, and waits for the reads in flight too', async () => {
    const gate = new OperationGate()
    const read = deferred()
    const reading = gate.run('read', () => read.promise)
    const drained = gate.narrow('closed', { timeoutMs: LATE_MS })
    const held = [gate.run('read', async () => 'read'), gate.run('write', async () => 'write')]
    expect(await isPending(drained)).toBe(true)
    read.resolve()
    await Promise.all([drained, reading])
    expect(await isPending(Promise.race(held))).toBe(true)
    expect(gate.inFlight).toBe(0)
    gate.open()
    expect(await Promise.all(held)).toEqual(['read', 'write'])
  })

  it('narrow to closed: counts an iteration from its first step until it is left', async () => {
    const gate = new OperationGate()
    const iteration = gate.iterate(async function* () {
      yield 1
      yield 2
    })
    expect(gate.inFlight).toBe(0)
    expect(await iteration.next()).toEqual({ done: false, value: 1 })
    const drained = gate.narrow('closed', { timeoutMs: LATE_MS })
    expect(await isPending(drained)).toBe(true)
    await iteration.return()
    await drained
    expect(gate.inFlight).toBe(0)
  })

  it.each(['reads-only', 'closed'] as const)('narrow to %s: a write that hangs rejects it with store_not_drained, and the gate is open again', async (to) => {
    const gate = new OperationGate()
    const write = deferred()
    const writing = gate.run('write', () => write.promise)
    await expect(gate.narrow(to, { timeoutMs: SOON_MS })).rejects.toMatchObject({ code: 'store_not_drained', details: { writes: 1, timeoutMs: SOON_MS } })
    expect(await gate.run('write', async () => 1)).toBe(1)
    write.resolve()
    await writing
  })

  it('narrow to closed: when it times out in the drain window, reads go on and held-back writes are refused', async () => {
    const gate = new OperationGate()
    const read = deferred()
    await gate.narrow('reads-only', { timeoutMs: LATE_MS })
    const reading = gate.run('read', () => read.promise)
    const drained = gate.narrow('closed', { timeoutMs: SOON_MS })
    const heldRead = gate.run('read', async () => 'read')
    const heldWrite = gate.run('write', async () => 'write')
    heldWrite.catch(() => undefined)
    await expect(drained).rejects.toMatchObject({ code: 'store_not_drained', details: { reads: 1 } })
    expect(await heldRead).toBe('read')
    await expect(heldWrite).rejects.toMatchObject({ code: 'restore_in_progress' })
    expect(gate.state).toBe('reads-only')
    read.resolve()
    await reading
  })

  it('narrow: opened meanwhile, it rejects and leaves the gate open', async () => {
    const gate = new OperationGate()
    const write = deferred()
    const writing = gate.run('write', () => write.promise)
    const drained = gate.narrow('closed', { timeoutMs: LATE_MS })
    gate.open()
    await expect(drained).rejects.toMatchObject({ code: 'store_not_drained' })
    expect(gate.state).toBe('open')
    write.resolve()
    await writing
  })

  it('run: an operation that was let through when the gate closes again in the same turn is held back, not lost', async () => {
    const gate = new OperationGate()
    await gate.narrow('closed', { timeoutMs: LATE_MS })
    let ran = false
    const held = gate.run('write', async () => {
      ran = true
    })
    gate.open()
    await gate.narrow('closed', { timeoutMs: LATE_MS })
    expect(await isPending(held)).toBe(true)
    expect(ran).toBe(false)
    gate.open()
    await held
    expect(ran).toBe(true)
  })
})
