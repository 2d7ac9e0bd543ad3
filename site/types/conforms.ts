// What pyenhance.d.ts declares against what there is: the compiler compares the two here. What events carry is said by
// addEventListener alone, which cannot be compared.
import { Engine, PIECE_SAMPLES } from "../engine/engine.js";
import { createDenoiser } from "../engine/node.js";
import type * as declared from "../engine/pyenhance.js";
import { Resampler } from "../engine/resampler.js";
import { HOP, SAMPLE_RATE } from "../engine/ring.js";
import { PyenhanceProcessor, denoiseTrack } from "../engine/calls.js";

type Silent<T> = Omit<T, "addEventListener">;
type Node = Omit<Silent<declared.Denoiser>, "engine"> & { engine: Silent<declared.Engine> };

export const values: Omit<typeof declared, "Engine" | "PyenhanceProcessor" | "createDenoiser" | "denoiseTrack"> = {
  HOP,
  PIECE_SAMPLES,
  Resampler,
  SAMPLE_RATE,
};

export const engine: new (...given: ConstructorParameters<typeof declared.Engine>) => Silent<declared.Engine> = Engine;

export const create: (...given: Parameters<typeof declared.createDenoiser>) => Promise<Node> = createDenoiser;

export const track: (
  ...given: Parameters<typeof declared.denoiseTrack>
) => Promise<Omit<declared.EnhancedMicrophone, "node"> & { node: Node }> = denoiseTrack;

export const processor: new (
  ...given: ConstructorParameters<typeof declared.PyenhanceProcessor>
) => Omit<declared.PyenhanceProcessor, "node"> & { node?: Node } = PyenhanceProcessor;
