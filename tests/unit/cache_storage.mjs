// What the library's modules use of the browser's CacheStorage, under Node.
export const caches = new Map();

globalThis.caches = {
  open: async (name) => {
    const entries = caches.get(name) ?? new Map();
    caches.set(name, entries);
    return {
      match: async (key) => entries.get(key)?.clone(),
      put: async (key, reply) => entries.set(key, reply),
      delete: async (key) => entries.delete(key),
      keys: async () => [...entries.keys()],
    };
  },
};
