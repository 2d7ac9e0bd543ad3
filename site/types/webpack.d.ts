// What webpack says of itself in its bundles.

interface ImportMeta {
  readonly webpack?: number;
}
