// A worker gives way to what waits.

/** @type {(() => void)[]} */
const resting = [];
/** @type {MessageChannel | undefined} */
let bell;

/** The worker's turn ends and comes again at once; setTimeout would make it wait for milliseconds. @returns {Promise<void>} */
export function letMessagesIn() {
  if (!bell) {
    bell = new MessageChannel();
    bell.port1.onmessage = () => resting.shift()?.();
  }
  const { port2 } = bell;
  return new Promise((resolve) => {
    resting.push(resolve);
    port2.postMessage(0);
  });
}
