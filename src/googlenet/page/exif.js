"use strict";
// How an image is turned: for the page, and for the worker that computes answers in a page without a server.

// The EXIF orientation, 1 to 8, in a TIFF structure; 1 where there is none, or an invalid one.
const orientationIn = (bytes) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), little = bytes[0] === 0x49;
  try {
    const at = view.getUint32(4, little), count = view.getUint16(at, little);
    for (let n = 0; n < count; n += 1) {
      const entry = at + 2 + 12 * n;
      if (view.getUint16(entry, little) !== 0x112) continue;
      const value = view.getUint16(entry + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch { /* a damaged EXIF block: the pixels are whole */ }
  return 1;
};

// A WebP without its EXIF block, and the orientation that was in it: not every browser applies it. null for all else.
const withoutExif = (bytes) => {
  const text = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (text(0) !== "RIFF" || text(8) !== "WEBP" || text(12) !== "VP8X") return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 12; at + 8 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at + 4, true);
    if (text(at) === "EXIF") {
      const block = bytes.subarray(at + 8, end), orientation = orientationIn(text(at + 8) === "Exif" ? block.subarray(6) : block);
      const without = bytes.slice();
      without.set([0x2e, 0x2e, 0x2e, 0x2e], at);  // a chunk of a name that decoders skip
      without[20] &= ~8;
      return { file: new Blob([without], { type: "image/webp" }), orientation };
    }
    at = end + end % 2;
  }
  return null;
};
