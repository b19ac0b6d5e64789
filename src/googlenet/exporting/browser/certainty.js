"use strict";
// How sure an answer is: googlenet/inference/conformal.py and unknown.py, for one image.
const Certainty = (() => {
  const NEIGHBOUR = 5;  // the known embedding whose distance counts

  // The p-value of an image: the share of known images that are at least as unusual.
  const pValue = ({ centre, basis, spread, embeddings, scale, known }, embedding, probabilities) => {
    const wide = centre.length, d = spread.length - 1, count = embeddings.length / d;
    const inside = new Float64Array(d);
    // With a fifth number, embeddings are brought to that length.
    const length = Math.sqrt(embedding.reduce((sum, value) => sum + value * value, 0));
    const factor = scale.length > 4 ? scale[4] / Math.max(length, 1e-6) : 1;
    let all = 0, within = 0;
    for (let n = 0; n < wide; n += 1) {
      const value = Math.fround(Math.fround(embedding[n] * factor) - centre[n]);
      all += value * value;
      for (let k = 0; k < d; k += 1) inside[k] += value * basis[n * d + k];
    }
    for (const value of inside) within += value * value;
    const outside = Math.max(all - within, 0) / spread[d] ** 2;
    const squares = Float64Array.from({ length: count }, (_, n) => {
      let sum = 0;
      for (let k = 0; k < d; k += 1) sum += (inside[k] / spread[k] - embeddings[n * d + k]) ** 2;
      return sum;
    }).sort();
    const distance = Math.sqrt(squares[NEIGHBOUR - 1] / d + outside), doubt = 1 - probabilities.reduce((a, b) => Math.max(a, b));
    const score = Math.fround((distance - scale[0]) / scale[1] + (doubt - scale[2]) / scale[3]);
    let below = known.findIndex((each) => each >= score);
    if (below < 0) below = known.length;
    return (1 + known.length - below) / (known.length + 1);
  };

  // The classes, by number, whose score (1 - p) does not exceed the limit.
  const set = (probabilities, limit) => [...probabilities.keys()].filter((n) => Math.fround(1 - probabilities[n]) <= limit);
  return { pValue, set };
})();
