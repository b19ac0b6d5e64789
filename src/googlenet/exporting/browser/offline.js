"use strict";
// Keeps the files of this page, so that it opens without a network once it was loaded. `FILES` are the hashes of all, by
// name: a file that an older copy of the page left in the browser's cache is not taken for a new one.
const FILES = {}, VERSION = "";  // filled in by the export
const kept = () => caches.open(`${registration.scope} ${VERSION}`);
const hash = async (content) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", content))].map((each) => each.toString(16).padStart(2, "0")).join("");
const keep = async (cache, name) => {
  for (const mode of ["default", "reload"]) {
    const answer = await fetch(name, { cache: mode });
    if (!answer.ok || await hash(await answer.clone().arrayBuffer()) !== FILES[name]) continue;
    await cache.put(name, answer.clone());
    if (name === "index.html") await cache.put("./", answer);
    return;
  }
  throw new Error(`${name} is not the file of this version`);
};
addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await kept();
  for (const name of Object.keys(FILES)) await keep(cache, name);
})()));
addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) {
    if (name.startsWith(`${registration.scope} `) && !name.endsWith(` ${VERSION}`)) await caches.delete(name);
  }
})()));
addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(kept().then(async (cache) => await cache.match(event.request, { ignoreSearch: true }) ?? fetch(event.request)));
});
