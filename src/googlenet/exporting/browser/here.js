"use strict";
// The page's answers are computed in this browser, by a worker: nothing is sent anywhere.
(() => {
  const inside = (name) => document.getElementById(`file:${name}`);  // of a page that is a single file
  const unpacked = async (element) => {
    const packed = Uint8Array.from(atob(element.textContent), (each) => each.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  };
  const read = async (name, tell = () => {}) => {
    const element = inside(name);
    if (element) return unpacked(element);
    const answer = await fetch(name);
    if (!answer.ok) throw Object.assign(new Error(name), { code: "missing" });
    const counted = new TransformStream({ transform(part, into) { tell(part.length); into.enqueue(part); } });
    return new Response(answer.body.pipeThrough(counted)).arrayBuffer();
  };
  const able = typeof WebAssembly === "object" && typeof OffscreenCanvas === "function" && typeof DecompressionStream === "function";

  let worker, asked = 0;
  const waiting = new Map();
  const ask = (message, moved = []) => new Promise((resolve, reject) => {
    asked += 1;
    waiting.set(asked, { resolve, reject });
    worker.postMessage({ ...message, id: asked }, moved);
  });
  const begin = async (page) => {
    if (location.protocol === "file:" && !inside("classifier.json")) throw Object.assign(new Error(), { code: "fromDisk" });
    if (!able) throw Object.assign(new Error(), { code: "tooOld" });
    const classifier = JSON.parse(new TextDecoder().decode(await read("classifier.json"))), { bytes, parts } = classifier;
    let there = 0;
    const tell = (count) => {
      there += count;
      page.at("subtitle").textContent = page.texts.loading((there / 1e6).toFixed(0), (bytes / 1e6).toFixed(0));
    };
    tell(0);
    const [code, runtime, wasm, graph, certainty] = await Promise.all(parts.map((name) => read(name, tell)));
    worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), error)); else resolve(result);
    };
    worker.onerror = (event) => { for (const { reject } of waiting.values()) reject(Object.assign(new Error(event.message), { code: "failed" })); };
    const { noisy } = await ask({ kind: "start", runtime, wasm, graph, certainty, classifier }, [wasm, graph]);
    if (noisy) page.problem = () => page.texts.noisy;
    if (!inside("classifier.json")) navigator.serviceWorker?.register("offline.js").catch(() => {});
    return classifier;
  };

  startPage({
    texts: {
      en: {
        loading: (there, all) => `Loading the model: ${there} of ${all} MB`, times: (t) => `decoded in ${t.decode_ms.toFixed(0)} ms, resized in ${t.resize_ms.toFixed(0)} ms, computed in ${t.infer_ms.toFixed(0)} ms`,
        photograph: "Use the camera", dropNote: "or paste them, choose files, use the camera. Several at a time are fine.",
        here: "Images stay in this browser: nothing is sent anywhere.",
        notImage: "This is not an image, or of a format that this browser does not read: convert it to JPEG or PNG.",
        empty: "This file is empty: save the image again.", cut: "This image is cut off or damaged: save it again.",
        large: "This image has more than 100 megapixels: shrink it.", missing: (name) => `A file of this page is missing (${name}): copy the whole folder again.`,
        offline: "A file of this page could not be loaded. Check the connection, then load the page again.",
        failed: (what) => `The network could not be run: ${what}`,
        fromDisk: "A browser does not let a page that is opened from a disk read the files beside it. Put this folder on any web server (on this computer: python -m http.server), or export with --single-file.",
        tooOld: "This page needs a browser of 2023 or later: Chrome or Edge 103, Firefox 114, Safari 16.4.",
        noisy: "This browser changes the pixels that a page reads, to protect from tracking. Answers to JPEGs are exact; do not rely on those to other formats and to the camera, unless you allow this page to read its canvas.",
      },
      zh: {
        loading: (there, all) => `正在加载模型：${all} MB 中的 ${there} MB`, times: (t) => `解码 ${t.decode_ms.toFixed(0)} 毫秒，缩放 ${t.resize_ms.toFixed(0)} 毫秒，计算 ${t.infer_ms.toFixed(0)} 毫秒`,
        photograph: "使用摄像头", dropNote: "也可以粘贴、选择文件或使用摄像头，一次多张也行。",
        here: "图片不会离开此浏览器：不向任何地方发送数据。",
        notImage: "这不是图片，或者浏览器无法读取其格式：请转换为 JPEG 或 PNG。",
        empty: "文件为空：请重新保存图片。", cut: "图片不完整或已损坏：请重新保存。",
        large: "图片超过 1 亿像素：请缩小后再试。", missing: (name) => `缺少此页面的文件（${name}）：请重新复制整个文件夹。`,
        offline: "无法加载此页面的文件。请检查网络，然后重新加载页面。",
        failed: (what) => `无法运行网络：${what}`,
        fromDisk: "从磁盘打开的页面不能读取旁边的文件。请把此文件夹放到任意网页服务器上（在本机：python -m http.server），或者用 --single-file 导出。",
        tooOld: "此页面需要 2023 年以后的浏览器：Chrome 或 Edge 103、Firefox 114、Safari 16.4。",
        noisy: "此浏览器会改变网页读取的像素以防跟踪。JPEG 的结果是准确的；除非允许此页面读取画布，请不要依赖其他格式和摄像头的结果。",
      },
    },
    load: async (page) => ({ models: [await begin(page)] }),
    classify: (entry) => ask({ kind: "file", file: entry.file }),
    live: (bitmap) => ask({ kind: "bitmap", bitmap }, [bitmap]),
    explain: ({ code, message }, { texts }) => {
      const said = texts[code ?? "offline"];
      return typeof said === "function" ? said(message) : said;
    },
    retry: ({ code }) => code === "failed",
    kept: () => "here",
    async* examples(classifier) {
      for (const name of classifier.examples) {
        const content = await read(name).catch(() => null);
        if (content) yield new File([content], name.split("/").pop(), { type: "image/png" });
      }
    },
  });
})();
