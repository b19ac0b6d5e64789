"use strict";
// JPEG → the very pixels that libjpeg-turbo makes (accurate integer IDCT, "fancy" upsampling), at 1/1, 1/2, 1/4 or 1/8
// of the size, as Pillow's `draft` chooses it. Browsers decode only whole images and may decode them otherwise.
// Algorithms and constants are those of the Independent JPEG Group's jidctint.c, jidctred.c, jdsample.c, jdcolor.c,
// jdhuff.c and jdphuff.c. What no ordinary JPEG has (CMYK, 12 bits, arithmetic coding) is left to the browser: `Unusual`.
class Unusual extends Error {}
class Damaged extends Error {}

const Jpeg = (() => {
  const ZIGZAG = Uint8Array.from([
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
  ]);
  const LOOK = 9;  // bits of a code that one step finds

  // Huffman codes: by the first 9 bits, (length << 8) | symbol, or 0 for longer ones.
  const huffman = (counts, symbols) => {
    const look = new Uint16Array(1 << LOOK), last = new Int32Array(18).fill(-1), first = new Int32Array(17);
    let code = 0, at = 0;
    for (let length = 1; length <= 16; length += 1) {
      first[length] = at - code;
      for (let n = 0; n < counts[length - 1]; n += 1, code += 1, at += 1) {
        if (length <= LOOK) look.fill(length << 8 | symbols[at], code << LOOK - length, code + 1 << LOOK - length);
      }
      if (counts[length - 1]) last[length] = code - 1;
      if (code > 1 << length) throw new Damaged("codes");
      code <<= 1;
    }
    return { look, last, first, symbols };
  };

  // The bits of a scan, from `at` on; stuffed zeros are skipped, and at a marker there are no more.
  class Bits {
    constructor(bytes, at) { Object.assign(this, { bytes, at, held: 0, count: 0, padded: 0 }); }
    fill() {
      const { bytes } = this;
      while (this.count <= 16) {
        let byte = bytes[this.at];
        if (byte === 255) {
          if (bytes[this.at + 1] === 0) this.at += 2;
          else byte = undefined;
        } else if (byte !== undefined) this.at += 1;
        if (byte === undefined) {
          this.end();
          this.padded += 8;
          byte = 0;
        }
        this.held = (this.held << 8 | byte) & 0xffffff;
        this.count += 8;
      }
    }
    // Zeros may be looked at behind the last byte of a scan, but not used.
    end() {
      if (this.count < this.padded) throw new Damaged(this.at >= this.bytes.length - 1 ? "cut" : "scan");
    }
    take(count) {
      if (count === 0) return 0;
      if (this.count < count) this.fill();
      this.count -= count;
      return this.held >> this.count & (1 << count) - 1;
    }
    signed(count) {
      const value = this.take(count);
      return count && value < 1 << count - 1 ? value - (1 << count) + 1 : value;
    }
    symbol(table) {
      if (this.count < 16) this.fill();
      const found = table.look[this.held >> this.count - LOOK & (1 << LOOK) - 1];
      if (found) {
        this.count -= found >> 8;
        return found & 255;
      }
      for (let length = LOOK + 1; length <= 16; length += 1) {
        const code = this.held >> this.count - length & (1 << length) - 1;
        if (code <= table.last[length]) {
          this.count -= length;
          return table.symbols[code + table.first[length]];
        }
      }
      throw new Damaged("code");
    }
    restart(number) {
      this.end();
      if (this.bytes[this.at] !== 255 || this.bytes[this.at + 1] !== 0xd0 + number) throw new Damaged("restart");
      Object.assign(this, { at: this.at + 2, held: 0, count: 0, padded: 0 });
    }
  }

  // One function for each kind of scan: it adds what the scan knows of one block to the coefficients at `at`.
  const baseline = (bits, part, coefficients, at) => {
    part.last += bits.signed(bits.symbol(part.dc));
    coefficients[at] = part.last;
    for (let k = 1; k < 64; k += 1) {
      const symbol = bits.symbol(part.ac), size = symbol & 15, run = symbol >> 4;
      if (size) {
        k += run;
        if (k > 63) throw new Damaged("run");
        coefficients[at + ZIGZAG[k]] = bits.signed(size);
      } else if (run === 15) k += 15;
      else break;
    }
  };
  const dcFirst = (bits, part, coefficients, at, scan) => {
    part.last += bits.signed(bits.symbol(part.dc));
    coefficients[at] = part.last << scan.low;
  };
  const dcMore = (bits, part, coefficients, at, scan) => {
    if (bits.take(1)) coefficients[at] |= 1 << scan.low;
  };
  const acFirst = (bits, part, coefficients, at, scan) => {
    if (scan.empty) { scan.empty -= 1; return; }
    for (let k = scan.start; k <= scan.end; k += 1) {
      const symbol = bits.symbol(part.ac), size = symbol & 15, run = symbol >> 4;
      if (size) {
        k += run;
        if (k > 63) throw new Damaged("run");
        coefficients[at + ZIGZAG[k]] = bits.signed(size) * (1 << scan.low);
      } else if (run === 15) k += 15;
      else {
        scan.empty = (1 << run) + bits.take(run) - 1;
        break;
      }
    }
  };
  const refine = (coefficients, place, bits, one) => {
    if (!bits.take(1)) return;
    const value = coefficients[place];
    if (!(Math.abs(value) & one)) coefficients[place] = value > 0 ? value + one : value - one;
  };
  const acMore = (bits, part, coefficients, at, scan) => {
    const one = 1 << scan.low;
    let k = scan.start;
    if (!scan.empty) {
      for (; k <= scan.end; k += 1) {
        const symbol = bits.symbol(part.ac);
        let run = symbol >> 4, value = 0;
        if (symbol & 15) value = bits.take(1) ? one : -one;
        else if (run < 15) {
          scan.empty = (1 << run) + bits.take(run);
          break;
        }
        for (; k <= scan.end; k += 1) {
          const place = at + ZIGZAG[k];
          if (coefficients[place]) refine(coefficients, place, bits, one);
          else if (run === 0) break;
          else run -= 1;
        }
        if (value && k <= scan.end) coefficients[at + ZIGZAG[k]] = value;
      }
    }
    if (scan.empty) {
      for (; k <= scan.end; k += 1) if (coefficients[at + ZIGZAG[k]]) refine(coefficients, at + ZIGZAG[k], bits, one);
      scan.empty -= 1;
    }
  };

  // Inverse cosine transforms: 64 coefficients, dequantised → the samples of a block, from `at` on in `out`.
  const work = new Int32Array(64), block = new Int32Array(64);
  const clamp = (value) => value < 0 ? 0 : value > 255 ? 255 : value;
  const eight = (values, at, step, shift) => {
    const round = 1 << shift - 1;
    let a = values[at + 2 * step], b = values[at + 6 * step];
    let z = (a + b) * 4433;
    const t2 = z - b * 15137, t3 = z + a * 6270;
    a = values[at]; b = values[at + 4 * step];
    const t0 = (a + b) * 8192, t1 = (a - b) * 8192;
    const e0 = t0 + t3, e3 = t0 - t3, e1 = t1 + t2, e2 = t1 - t2;
    let o0 = values[at + 7 * step], o1 = values[at + 5 * step], o2 = values[at + 3 * step], o3 = values[at + step];
    const z1 = (o0 + o3) * -7373, z2 = (o1 + o2) * -20995, z5 = (o0 + o2 + o1 + o3) * 9633;
    const z3 = (o0 + o2) * -16069 + z5, z4 = (o1 + o3) * -3196 + z5;
    o0 = o0 * 2446 + z1 + z3; o1 = o1 * 16819 + z2 + z4; o2 = o2 * 25172 + z2 + z3; o3 = o3 * 12299 + z1 + z4;
    values[at] = e0 + o3 + round >> shift; values[at + 7 * step] = e0 - o3 + round >> shift;
    values[at + step] = e1 + o2 + round >> shift; values[at + 6 * step] = e1 - o2 + round >> shift;
    values[at + 2 * step] = e2 + o1 + round >> shift; values[at + 5 * step] = e2 - o1 + round >> shift;
    values[at + 3 * step] = e3 + o0 + round >> shift; values[at + 4 * step] = e3 - o0 + round >> shift;
  };
  const four = (v, at, step, shift) => {
    const round = 1 << shift - 1, t0 = v[at] * 16384, t2 = v[at + 2 * step] * 15137 - v[at + 6 * step] * 6270;
    const z1 = v[at + 7 * step], z2 = v[at + 5 * step], z3 = v[at + 3 * step], z4 = v[at + step];
    const o0 = z1 * -1730 + z2 * 11893 - z3 * 17799 + z4 * 8697, o2 = z1 * -4176 - z2 * 4926 + z3 * 7373 + z4 * 20995;
    v[at] = t0 + t2 + o2 + round >> shift; v[at + 3 * step] = t0 + t2 - o2 + round >> shift;
    v[at + step] = t0 - t2 + o0 + round >> shift; v[at + 2 * step] = t0 - t2 - o0 + round >> shift;
  };
  const two = (v, at, step, shift) => {
    const round = 1 << shift - 1, t = v[at] * 32768;
    const odd = v[at + 7 * step] * -5906 + v[at + 5 * step] * 6967 - v[at + 3 * step] * 10426 + v[at + step] * 29692;
    v[at] = t + odd + round >> shift; v[at + step] = t - odd + round >> shift;
  };
  const copy = (side, out, at, stride) => {
    for (let y = 0; y < side; y += 1) {
      for (let x = 0; x < side; x += 1) out[at + y * stride + x] = clamp(block[8 * y + x] + 128);
    }
  };
  const transforms = {
    8: (out, at, stride) => {
      for (let x = 0; x < 8; x += 1) eight(block, x, 8, 11);
      for (let y = 0; y < 8; y += 1) eight(block, 8 * y, 1, 18);
      copy(8, out, at, stride);
    },
    4: (out, at, stride) => {
      for (let x = 0; x < 8; x += 1) if (x !== 4) four(block, x, 8, 12);
      for (let y = 0; y < 4; y += 1) four(block, 8 * y, 1, 19);
      copy(4, out, at, stride);
    },
    2: (out, at, stride) => {
      for (let x = 0; x < 8; x += 1) if (x < 2 || x % 2) two(block, x, 8, 13);
      for (let y = 0; y < 2; y += 1) two(block, 8 * y, 1, 20);
      copy(2, out, at, stride);
    },
    1: (out, at) => { out[at] = clamp((block[0] + 4 >> 3) + 128); },
  };

  const ceil = (a, b) => Math.floor((a + b - 1) / b);

  // What the header says: frame, tables, orientation, colour profile; and the scans, decoded into coefficients.
  class Reader {
    constructor(bytes) {
      Object.assign(this, { bytes, at: 2, quant: [], dc: [], ac: [], interval: 0, orientation: 1, profile: [], adobe: null });
    }
    word(at) { return this.bytes[at] << 8 | this.bytes[at + 1]; }
    // Read up to the frame (its sizes decide the scale), or, with `scans`, to the end.
    read(scans) {
      const { bytes } = this;
      for (;;) {
        if (this.at >= bytes.length - 1) throw new Damaged("cut");
        if (bytes[this.at] !== 255) throw new Damaged("marker");
        const marker = bytes[this.at + 1];
        if (marker === 255) { this.at += 1; continue; }
        this.at += 2;
        if (marker === 0xd9) return;
        if (marker >= 0xd0 && marker <= 0xd7 || marker === 1) continue;
        const at = this.at + 2, end = this.at + this.word(this.at);
        if (end > bytes.length) throw new Damaged("cut");
        this.at = end;
        if (marker === 0xda) { this.scan(at); continue; }
        this.segment(marker, at, end);
        if (this.frame && !scans) return;
      }
    }
    segment(marker, at, end) {
      if (marker === 0xc4) this.codes(at, end);
      else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc8) this.start(marker, at);
      else if (marker === 0xdb) this.quantisation(at, end);
      else if (marker === 0xdd) this.interval = this.word(at);
      else if (marker >= 0xe0 && marker <= 0xef) this.application(marker, at, end);
    }
    starts(at, end, text) {
      return at + text.length <= end && [...text].every((each, index) => this.bytes[at + index] === each.charCodeAt(0));
    }
    application(marker, at, end) {
      if (marker === 0xe0 && this.starts(at, end, "JFIF\0")) this.jfif = true;
      if (marker === 0xee && this.starts(at, end, "Adobe") && end - at >= 12) this.adobe = this.bytes[at + 11];
      if (marker === 0xe1 && this.starts(at, end, "Exif\0\0")) this.orientation = orientationIn(this.bytes.subarray(at + 6, end));
      if (marker === 0xe2 && this.starts(at, end, "ICC_PROFILE\0")) this.profile[this.bytes[at + 12]] = this.bytes.subarray(at + 14, end);
    }
    quantisation(at, end) {
      while (at < end) {
        const long = this.bytes[at] >> 4, table = new Uint16Array(64);
        const number = this.bytes[at] & 15;
        at += 1;
        for (let k = 0; k < 64; k += 1, at += long ? 2 : 1) table[ZIGZAG[k]] = long ? this.word(at) : this.bytes[at];
        this.quant[number] = table;
      }
    }
    codes(at, end) {
      while (at < end) {
        const kind = this.bytes[at], counts = this.bytes.subarray(at + 1, at + 17), total = counts.reduce((a, b) => a + b, 0);
        (kind >> 4 ? this.ac : this.dc)[kind & 15] = huffman(counts, this.bytes.slice(at + 17, at + 17 + total));
        at += 17 + total;
      }
    }
    start(marker, at) {
      if (this.frame || marker > 0xc2 || this.bytes[at] !== 8) throw new Unusual("kind of JPEG");
      const height = this.word(at + 1), width = this.word(at + 3), count = this.bytes[at + 5];
      if (!width || !height || count !== 1 && count !== 3) throw new Unusual("colours");
      const parts = Array.from({ length: count }, (_, n) => {
        const place = at + 6 + 3 * n, h = this.bytes[place + 1] >> 4, v = this.bytes[place + 1] & 15;
        if (!h || !v || h > 4 || v > 4) throw new Damaged("sampling");
        return { id: this.bytes[place], h, v, table: this.bytes[place + 2] };
      });
      const wide = Math.max(...parts.map((each) => each.h)), high = Math.max(...parts.map((each) => each.v));
      for (const part of parts) {
        part.columns = ceil(ceil(width * part.h, wide), 8);
        part.rows = ceil(ceil(height * part.v, high), 8);
        part.stride = ceil(width, 8 * wide) * part.h;  // blocks, with those that fill up the last unit
        part.lines = ceil(height, 8 * high) * part.v;
      }
      this.frame = { width, height, parts, wide, high, progressive: marker === 0xc2 };
    }
    scan(at) {
      if (!this.frame) throw new Damaged("scan");
      const { bytes, frame } = this, count = bytes[at];
      const parts = Array.from({ length: count }, (_, n) => {
        const part = frame.parts.find((each) => each.id === bytes[at + 1 + 2 * n]), tables = bytes[at + 2 + 2 * n];
        if (!part) throw new Damaged("scan");
        part.quant ??= this.quant[part.table]?.slice();
        part.coefficients ??= new Int16Array(64 * part.stride * part.lines);
        return Object.assign(part, { dc: this.dc[tables >> 4], ac: this.ac[tables & 15], last: 0 });
      });
      const place = at + 1 + 2 * count;
      const scan = { start: bytes[place], end: bytes[place + 1], low: bytes[place + 2] & 15, more: bytes[place + 2] >> 4, empty: 0 };
      const kind = !frame.progressive ? baseline : scan.start ? scan.more ? acMore : acFirst : scan.more ? dcMore : dcFirst;
      const needs = { baseline: ["dc", "ac"], dcFirst: ["dc"], dcMore: [], acFirst: ["ac"], acMore: ["ac"] }[kind.name];
      if (scan.end > 63 || parts.some((part) => !part.quant || needs.some((name) => !part[name]))) throw new Damaged("tables");
      const bits = new Bits(bytes, this.at);
      this.blocks(parts, scan, kind, bits);
      bits.end();
      this.at = bits.at;
      this.scans = (this.scans ?? 0) + 1;
    }
    blocks(parts, scan, kind, bits) {
      const [first] = parts, alone = parts.length === 1, { frame } = this;
      const columns = alone ? first.columns : ceil(frame.width, 8 * frame.wide);
      const rows = alone ? first.rows : ceil(frame.height, 8 * frame.high);
      let left = this.interval, number = 0;
      for (let row = 0; row < rows; row += 1) {
        for (let column = 0; column < columns; column += 1) {
          if (this.interval && !left) {
            bits.restart(number);
            number = number + 1 & 7;
            left = this.interval;
            scan.empty = 0;
            for (const part of parts) part.last = 0;
          }
          left -= 1;
          if (alone) { kind(bits, first, first.coefficients, 64 * (row * first.stride + column), scan); continue; }
          for (const part of parts) {
            for (let y = 0; y < part.v; y += 1) {
              for (let x = 0; x < part.h; x += 1) {
                kind(bits, part, part.coefficients, 64 * ((row * part.v + y) * part.stride + column * part.h + x), scan);
              }
            }
          }
        }
      }
    }
  }

  // Samples of one component at a scale: `least` (8, 4, 2, 1) samples for each block of the finest component.
  const samples = (part, frame, least) => {
    let side = least;
    while (side < 8 && !(frame.wide * least % (part.h * side * 2)) && !(frame.high * least % (part.v * side * 2))) side *= 2;
    const stride = part.stride * side, found = new Uint8Array(stride * part.lines * side), { coefficients, quant } = part;
    const transform = transforms[side];
    for (let row = 0; row < part.rows; row += 1) {
      for (let column = 0; column < part.columns; column += 1) {
        const from = 64 * (row * part.stride + column);
        let flat = true;
        for (let k = 0; k < 64; k += 1) {
          const value = coefficients[from + k];
          if (value && k) flat = false;
          block[k] = value * quant[k];
        }
        if (flat) {  // what the transforms make of a block that is all of one value
          const at = (row * stride + column) * side, value = clamp((block[0] + 4 >> 3) + 128);
          for (let y = 0; y < side; y += 1) found.fill(value, at + y * stride, at + y * stride + side);
          continue;
        }
        transform(found, (row * stride + column) * side, stride);
      }
    }
    part.coefficients = null;
    const width = ceil(frame.width * part.h * side, frame.wide * 8), height = ceil(frame.height * part.v * side, frame.high * 8);
    return { found, stride, width, height, across: frame.wide * least / (part.h * side), down: frame.high * least / (part.v * side) };
  };

  // A function that writes row `y` of a component, enlarged to the size of the image, into `row`.
  const upsampled = (plane, fancy) => {
    const { found, stride, width, height, across, down } = plane;
    if (across === 1 && down === 1) return (y, row) => row.set(found.subarray(y * stride, y * stride + Math.min(width, row.length)));
    const wideFancy = fancy && across === 2 && width > 2;
    if (wideFancy && down === 1) {
      return (y, row) => {
        const at = y * stride, last = at + width - 1;
        for (let x = 0; x < width; x += 1) {
          const here = found[at + x], two = 2 * x;
          row[two] = x ? 3 * here + found[at + x - 1] + 1 >> 2 : here;
          row[two + 1] = at + x < last ? 3 * here + found[at + x + 1] + 2 >> 2 : here;
        }
      };
    }
    const neighbour = (y) => Math.min(height - 1, Math.max(0, (y >> 1) + (y % 2 ? 1 : -1)));
    if (wideFancy && down === 2) {
      const sums = new Int32Array(width);
      return (y, row) => {
        const near = (y >> 1) * stride, far = neighbour(y) * stride;
        for (let x = 0; x < width; x += 1) sums[x] = 3 * found[near + x] + found[far + x];
        for (let x = 0; x < width; x += 1) {
          row[2 * x] = 3 * sums[x] + sums[x ? x - 1 : 0] + 8 >> 4;
          row[2 * x + 1] = 3 * sums[x] + sums[x < width - 1 ? x + 1 : x] + 7 >> 4;
        }
      };
    }
    if (fancy && across === 1 && down === 2) {
      return (y, row) => {
        const near = (y >> 1) * stride, far = neighbour(y) * stride, bias = y % 2 ? 2 : 1;
        for (let x = 0; x < width; x += 1) row[x] = 3 * found[near + x] + found[far + x] + bias >> 2;
      };
    }
    if (!Number.isInteger(across) || !Number.isInteger(down)) throw new Unusual("sampling");
    return (y, row) => {
      const at = Math.floor(y / down) * stride;
      for (let x = 0; x < row.length; x += 1) row[x] = found[at + Math.floor(x / across)];
    };
  };

  const table = (factor, half) => Int32Array.from({ length: 256 }, (_, n) => factor * (n - 128) + half);
  const RED = table(91881, 32768).map((each) => each >> 16), BLUE = table(116130, 32768).map((each) => each >> 16);
  const GREEN_CB = table(-22554, 32768), GREEN_CR = table(-46802, 0);

  const isYcc = ({ frame, jfif, adobe }) => {
    if (jfif) return true;
    if (adobe !== null) return adobe !== 0;
    return String.fromCharCode(...frame.parts.map((each) => each.id)) !== "RGB";
  };

  const pixels = (reader, least) => {
    const { frame } = reader, width = ceil(frame.width * least, 8), height = ceil(frame.height * least, 8);
    const count = frame.parts.length, out = new Uint8ClampedArray(width * height * count);
    const planes = frame.parts.map((part) => samples(part, frame, least));
    const writers = planes.map((plane) => upsampled(plane, least > 1));
    const room = width + 8 * frame.wide, rows = planes.map(() => new Uint8Array(room)), ycc = count === 3 && isYcc(reader);
    for (let y = 0, at = 0; y < height; y += 1) {
      writers.forEach((write, n) => write(y, rows[n]));
      const [first, second, third] = rows;
      for (let x = 0; x < width; x += 1) {
        if (ycc) {
          const light = first[x], cb = second[x], cr = third[x];
          out[at] = light + RED[cr];
          out[at + 1] = light + (GREEN_CB[cb] + GREEN_CR[cr] >> 16);
          out[at + 2] = light + BLUE[cb];
        } else for (let n = 0; n < count; n += 1) out[at + n] = rows[n][x];
        at += count;
      }
    }
    return { width, height, channels: count, data: out };
  };

  // The scale of Pillow's `draft`: the smallest copy whose shorter side keeps `atLeast` pixels.
  const scaleFor = (width, height, atLeast) => {
    const scale = Math.min(Math.floor(width / atLeast), Math.floor(height / atLeast));
    return [8, 4, 2, 1].find((each) => scale >= each) ?? 1;
  };

  // → { width, height, channels, data, orientation, profile, scale }; `profile` is an ICC profile, or null.
  const decode = (bytes, atLeast = Infinity, maxPixels = Infinity) => {
    const reader = new Reader(bytes);
    reader.read(false);
    const { width, height } = reader.frame;
    const scale = scaleFor(width, height, atLeast);
    if (width * height / scale ** 2 > maxPixels) throw new Damaged("large");
    reader.read(true);
    if (reader.frame.parts.some((part) => !part.coefficients)) throw new Damaged("scan");
    const parts = reader.profile.filter(Boolean), profile = parts.length ? new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0)) : null;
    let at = 0;
    for (const each of parts) { profile.set(each, at); at += each.length; }
    return { ...pixels(reader, 8 / scale), orientation: reader.orientation, profile, scale };
  };
  return { decode, is: (bytes) => bytes[0] === 255 && bytes[1] === 216 && bytes[2] === 255 };
})();
