// Scripts of the site that are fetched when they are first needed.

/**
 * A script, checked against the manifest's sum.
 * @param {string} name
 * @param {string[]} imports what it imports, and these in turn, but for what the page has loaded
 */
export async function loadVerified(name, ...imports) {
  const { files } = await (await fetch("manifest.json")).json();
  const links = [name, ...imports].map((href) =>
    Object.assign(document.createElement("link"), { rel: "modulepreload", href, integrity: files[href].integrity }),
  );
  const loaded = links.map(
    (link) =>
      new Promise((resolve, reject) => {
        link.onload = resolve;
        link.onerror = () => reject(new Error(name));
      }),
  );
  document.head.append(...links); // the import below takes the scripts that these have checked
  try {
    await Promise.all(loaded);
    return await import(`./${name}`);
  } finally {
    for (const link of links) link.remove();
  }
}
