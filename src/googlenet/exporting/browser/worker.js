"use strict";
// Answers images beside the page, so that it never waits: decoding, resizing, the network in ONNX Runtime, certainty.
(() => {
  const TOP = 5;
  let session, classifier, Tensor;

  const start = async (given) => {
    const ort = await import(URL.createObjectURL(new Blob([given.runtime], { type: "text/javascript" })));
    ort.env.wasm.wasmBinary = given.wasm;
    ort.env.wasm.numThreads = 1;  // more need headers that few hosts of files send
    ({ Tensor } = ort);
    session = await ort.InferenceSession.create(new Uint8Array(given.graph), { logSeverityLevel: 3 });
    classifier = given.classifier;
    const { unknown } = classifier;
    if (unknown) unknown.arrays = Object.fromEntries(unknown.arrays.map(({ name, at, length }) => [name, new Float32Array(given.certainty, at, length)]));
    return { noisy: Pixels.isNoisy() };
  };

  const heatmapOf = (maps, index, box) => {
    const [, , rows, columns] = maps.dims, each = rows * columns, values = maps.data.subarray(index * each, (index + 1) * each);
    return { grid: { rows, columns, box }, values: Array.from({ length: rows }, (_, n) => [...values.subarray(n * columns, (n + 1) * columns)]) };
  };
  const answer = async (image, decoded) => {
    const began = performance.now(), { preprocessing, classes, thresholds, sets, unknown, heatmap } = classifier;
    const { pixels, box } = Pixels.seen(image, preprocessing), resized = performance.now(), { size, channels } = preprocessing;
    const wanted = ["probabilities", ...heatmap ? ["maps"] : [], ...unknown ? ["embeddings"] : []];
    const found = await session.run({ images: new Tensor("uint8", pixels, [1, size, size, channels]) }, wanted);
    const probabilities = found.probabilities.data, computed = performance.now();
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a] || a - b);
    const p = unknown ? Certainty.pValue(unknown.arrays, found.embeddings.data, probabilities) : null;
    const result = {
      label: classes[order[0]], probability: probabilities[order[0]],
      top: order.slice(0, TOP).map((n) => ({ label: classes[n], probability: probabilities[n] })),
      p_value: p, unknown: p === null ? null : p <= unknown.false_alarms,
      times: { decode_ms: decoded, resize_ms: resized - began, infer_ms: computed - resized },
    };
    if (thresholds.length) result.labels = order.filter((n) => probabilities[n] >= thresholds[n]).map((n) => classes[n]);
    if (sets) {
      const inside = new Set(Certainty.set(probabilities, sets.limit));
      result.set = { level: sets.level, labels: order.filter((n) => inside.has(n)).map((n) => classes[n]) };
    }
    if (heatmap) result.heatmap = heatmapOf(found.maps, order[0], box);
    return { ...result, probabilities };
  };
  const kinds = {
    start,
    file: async ({ file }) => {
      const began = performance.now(), image = await Pixels.read(file, classifier.preprocessing);
      return answer(image, performance.now() - began);
    },
    bitmap: async ({ bitmap }) => answer(Pixels.ofBitmap(bitmap), 0),
  };
  let before = Promise.resolve();  // one at a time: the network has one thread
  onmessage = ({ data }) => {
    before = before.then(async () => {
      try {
        postMessage({ id: data.id, result: await kinds[data.kind](data) });
      } catch (error) {
        postMessage({ id: data.id, error: { code: error.code ?? "failed", message: String(error.message ?? error) } });
      }
    });
  };
})();
