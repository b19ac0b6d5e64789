"use strict";
// Pixels { width, height, channels, data } → what the network sees, as googlenet/images/resize.py makes it, bit for bit:
// the bilinear convolution of Pillow's Resample.c in the arithmetic of fast_image_resize, which the engine uses: first
// down, then across, weights of 16 bits, each pass rounded to 8 bits. No pixel differs from Pillow's by more than a level.
const Resize = (() => {
  const MAX_BITS = 22, WEIGHT_BITS = 15, MID_GREY = 127;

  // Python's round(): halves go to the even number.
  const round = (value) => {
    const low = Math.floor(value);
    if (value - low !== 0.5) return Math.round(value);
    return low % 2 ? low + 1 : low;
  };

  // The weights for `count` pixels made of those between `start` and `end` of a side with `length` pixels, as whole
  // numbers of `bits` bits after the point: as many as the largest weight leaves of 15.
  const weights = (length, start, end, count) => {
    const scale = (end - start) / count, reach = Math.max(scale, 1);
    let most = 0;
    const found = Array.from({ length: count }, (_, n) => {
      const centre = start + (n + 0.5) * scale;
      const first = Math.max(0, Math.floor(centre - reach)), last = Math.min(length, Math.ceil(centre + reach));
      const of = Float64Array.from({ length: last - first }, (__, k) => Math.max(0, 1 - Math.abs((k + first - (centre - 0.5)) * (1 / reach))));
      let sum = 0;
      for (const each of of) sum += each;
      for (let k = 0; k < of.length; k += 1) most = Math.max(most, of[k] /= sum);
      return { first, of };
    });
    let bits = 0;
    while (bits < MAX_BITS - 1 && Math.round(most * 2 ** (bits + 1)) < 1 << WEIGHT_BITS) bits += 1;
    return { bits, found: found.map(({ first, of }) => ({ first, of: Int32Array.from(of, (each) => Math.round(each * 2 ** bits)) })) };
  };

  // One pass: each group of `group` neighbouring values of a line is moved as one; `lines` lines are done alike.
  const pass = (data, lines, line, group, { bits, found }) => {
    const out = new Uint8ClampedArray(lines * found.length * group), half = bits ? 1 << bits - 1 : 0;
    for (let y = 0, to = 0; y < lines; y += 1) {
      for (const { first, of } of found) {
        const from = y * line + first * group;
        for (let c = 0; c < group; c += 1, to += 1) {
          let sum = half;
          for (let k = 0, at = from + c; k < of.length; k += 1, at += group) sum += data[at] * of[k];
          out[to] = sum >> bits;
        }
      }
    }
    return out;
  };

  const resample = ({ width, height, channels, data }, wide, high, [left, top, right, bottom]) => {
    const across = weights(width, left, right, wide), begin = across.found[0].first;
    const end = across.found[wide - 1].first + across.found[wide - 1].of.length, kept = (end - begin) * channels;
    // Down, only the columns that are needed afterwards; then across.
    const columns = new Uint8ClampedArray(height * kept);
    for (let y = 0; y < height; y += 1) {
      const at = (y * width + begin) * channels;
      columns.set(data.subarray(at, at + kept), y * kept);
    }
    for (const each of across.found) each.first -= begin;
    const shrunk = pass(columns, 1, 0, kept, weights(height, top, bottom, high));
    return { width: wide, height: high, channels, data: pass(shrunk, high, kept, channels, across) };
  };

  // The part of an image that the network sees: left, top, right, bottom in pixels; with "pad" larger than the image.
  const cropBox = (width, height, { size, crop_fraction: fraction, resize }) => {
    const share = size / round(size / fraction);
    const sides = { crop: [Math.min(width, height), Math.min(width, height)], pad: [Math.max(width, height), Math.max(width, height)], squash: [width, height] };
    const [wide, high] = sides[resize].map((side) => side * share);
    const left = (width - wide) / 2, top = (height - high) / 2;
    return [left, top, left + wide, top + high];
  };

  // → (size, size, channels), uint8; grey where the box leaves the image.
  const resizeAndCrop = (image, preprocessing) => {
    const { size } = preprocessing, { width, height, channels } = image;
    const [left, top, right, bottom] = cropBox(width, height, preprocessing);
    const seen = [Math.max(left, 0), Math.max(top, 0), Math.min(right, width), Math.min(bottom, height)];
    const wide = Math.max(round(size * (seen[2] - seen[0]) / (right - left)), 1);
    const high = Math.max(round(size * (seen[3] - seen[1]) / (bottom - top)), 1);
    const made = resample(image, wide, high, seen);
    if (wide === size && high === size) return new Uint8Array(made.data);
    const square = new Uint8Array(size * size * channels).fill(MID_GREY);
    const x = round((size - wide) / 2), y = round((size - high) / 2);
    for (let row = 0; row < high; row += 1) {
      square.set(made.data.subarray(row * wide * channels, (row + 1) * wide * channels), ((y + row) * size + x) * channels);
    }
    return square;
  };

  // The EXIF orientation, 1 to 8, applied: Pillow's transpositions.
  const upright = (image, orientation) => {
    if (orientation < 2) return image;
    const { width, height, channels, data } = image, turned = orientation > 4;
    const [wide, high] = turned ? [height, width] : [width, height];
    const out = new Uint8ClampedArray(data.length);
    const source = {
      2: (x, y) => [width - 1 - x, y], 3: (x, y) => [width - 1 - x, height - 1 - y], 4: (x, y) => [x, height - 1 - y],
      5: (x, y) => [y, x], 6: (x, y) => [y, height - 1 - x], 7: (x, y) => [width - 1 - y, height - 1 - x], 8: (x, y) => [width - 1 - y, x],
    }[orientation];
    for (let y = 0, to = 0; y < high; y += 1) {
      for (let x = 0; x < wide; x += 1) {
        const [fromX, fromY] = source(x, y), from = (fromY * width + fromX) * channels;
        for (let c = 0; c < channels; c += 1, to += 1) out[to] = data[from + c];
      }
    }
    return { width: wide, height: high, channels, data: out };
  };

  // Grey or RGB, as many channels as the network takes; grey is Pillow's luma.
  const withChannels = (image, channels) => {
    if (image.channels === channels) return image;
    const { width, height, data } = image, out = new Uint8ClampedArray(width * height * channels);
    for (let n = 0; n < width * height; n += 1) {
      if (channels === 3) out.fill(data[n], 3 * n, 3 * n + 3);
      else out[n] = data[3 * n] * 19595 + data[3 * n + 1] * 38470 + data[3 * n + 2] * 7471 + 0x8000 >> 16;
    }
    return { width, height, channels, data: out };
  };

  // The resized side in pixels, before the crop.
  const resizedSide = ({ size, crop_fraction: fraction }) => round(size / fraction);
  return { resample, resizeAndCrop, cropBox, upright, withChannels, resizedSide, round };
})();
