// What the page's world and the extension's say to each other. They share no objects but the elements of the document:
// a media element that is in no document carries a stream from one to the other, as its `srcObject`, and events tell of
// it. A page may say all of this as well: it gets no more by it than its own sound, enhanced.

/** To the document, its `relatedTarget` the element: is the microphone to be enhanced here? */
export const ASK = "pyenhance-ask";
/** To the element, `detail`: "on" or "off". */
export const ANSWER = "pyenhance-answer";
/** To the document, its `relatedTarget` the element: it carries a microphone. */
export const MICROPHONE = "pyenhance-microphone";
/** To the element: it carries the enhanced sound; `detail`: empty, or why it does not. */
export const ENHANCED = "pyenhance-enhanced";
/** To the element, `detail`: seconds by which the enhanced sound is later than the microphone, as text. */
export const LATENCY = "pyenhance-latency";
