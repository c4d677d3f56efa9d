/** Publishes one backup of two parts, or deletes one; prints a line when it is done. Arguments: publish|delete, the access as JSON, a backup ID. */
import type { S3Access } from '../../support/s3/client.ts'
import { bytesOf, openAt, PART_BYTES, publish } from './plain.ts'

const [task, access = '{}', backupId = ''] = process.argv.slice(2)
const destination = openAt(JSON.parse(access) as S3Access)
if (task === 'publish') await publish(destination, bytesOf(PART_BYTES + 1000), backupId)
else await destination.delete(backupId)
await destination.close()
process.stdout.write('done\n')
