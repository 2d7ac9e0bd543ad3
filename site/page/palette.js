// Colours for levels: dark where it is quiet, through teal, to pale yellow where it is loud. 256 RGBA words, as ImageData has them.
const STOPS = [
  [0, 8, 16, 20],
  [90, 12, 66, 78],
  [150, 30, 130, 118],
  [205, 170, 196, 100],
  [255, 255, 246, 206],
];

/** @param {HTMLCanvasElement} canvas */
export const context = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

export const PALETTE = Uint8ClampedArray.from({ length: 1024 }, (_, i) => {
  const level = i >> 2;
  const channel = i & 3;
  if (channel === 3) return 255;
  const upper = Math.max(
    1,
    STOPS.findIndex(([at]) => at >= level),
  );
  const [from, to] = [STOPS[upper - 1], STOPS[upper]];
  const share = (level - from[0]) / (to[0] - from[0]);
  return from[channel + 1] + share * (to[channel + 1] - from[channel + 1]);
});

/** Levels (0 to 255), row by row, on a canvas of the same size. @param {HTMLCanvasElement} canvas @param {Uint8Array} levels @param {number[]} shape */
export function drawLevels(canvas, levels, [rows, columns]) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < levels.length; i++) {
    for (let c = 0; c < 4; c++) image.data[4 * i + c] = PALETTE[4 * levels[i] + c];
  }
  context(canvas).putImageData(image, 0, 0);
}
