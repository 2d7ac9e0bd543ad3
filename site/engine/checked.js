/** The reply, if it is a good one. @param {Response} reply */
export function checked(reply) {
  if (!reply.ok) throw new Error(`${reply.url}: ${reply.status} ${reply.statusText}`);
  return reply;
}
