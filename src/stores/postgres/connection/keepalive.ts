/** Settings by which the server notices that a client is gone without a word, and ends its transaction: until then that keeps its locks, and what VACUUM would remove. */

/** The system asks the other side whether it is there, where nothing is to be sent. */
export const KEEPALIVES: Readonly<Record<string, string>> = {
  tcp_keepalives_idle: '30',
  tcp_keepalives_interval: '10',
  tcp_keepalives_count: '3',
}

/** What was sent is confirmed in time. Not for a client that stops reading now and then: nothing may be sent to it, which counts too. */
export const CONFIRMED_IN_TIME: Readonly<Record<string, string>> = { tcp_user_timeout: '60000' }
