import { describe, test } from 'vitest'
import { testMetadataStore } from '../../conformance/metadata-store.ts'
import { openStore } from './metadata-stores.ts'

const runner = { describe, test }

testMetadataStore({ name: 'postgres', runner, factory: () => openStore() })
