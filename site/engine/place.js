// Where the library's files are: beside this module, or where `base` says, for a bundler moves the code of the page but not the
// workers, the worklet, the compiled code and the models that go with it.

const BUILD = "development"; // make_site.py puts the build's sum here
// webpack would put this file's path on the machine that builds the page in the place of `url`; it alone knows `webpack`.
const OWN = import.meta.webpack ? null : new URL(import.meta.url);

const page = () => globalThis.document?.baseURI ?? globalThis.location?.href;

/** The folder of this module; in webpack's bundle the page's, for want of its own. */
export const HERE = new URL("./", OWN ?? page());

// By its name, or by its place on the machine that built the page.
const moved = () =>
  !OWN?.pathname.endsWith("/place.js") || (OWN.protocol === "file:" && new URL(page() ?? OWN).protocol !== "file:");

/**
 * The folder of the library's files. base: of the folder that pyenhance-assets has filled, in which they lie by their build's name.
 * @param {string | URL} [base]
 */
export function folder(base) {
  if (base === undefined) {
    if (!moved()) return HERE;
    throw new Error(
      "base is missing; accepted in a bundle: the address of the folder that pyenhance-assets has filled",
    );
  }
  if (!URL.canParse(base, page())) throw new TypeError(`base is ${base}; accepted: an address`);
  const given = new URL(base, page());
  if (!given.pathname.endsWith("/")) given.pathname += "/";
  return new URL(`${BUILD}/`, given);
}

/** What the caches of a folder's files are named by: the same for all builds. @param {URL} folder */
export const home = ({ pathname }) =>
  pathname.endsWith(`/${BUILD}/`) ? pathname.slice(0, -BUILD.length - 1) : pathname;

/**
 * A worker of a module. Browsers start none of another origin, but one that imports it.
 * @param {URL} module
 */
export function startWorker(module) {
  /** @type {WorkerOptions} */
  const options = { type: "module", name: `pyenhance ${module.pathname.replace(/^.*\//, "")}` };
  if (module.origin === new URL(page() ?? HERE).origin) return new Worker(module, options);
  const code = `import ${JSON.stringify(module.href)}; URL.revokeObjectURL(location.href);`;
  return new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), options);
}
