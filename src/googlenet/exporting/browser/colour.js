"use strict";
// Colour profiles: Adobe RGB, Display P3 and others that are three curves and a matrix → sRGB, in the arithmetic of
// LittleCMS (cmsopt.c, 14 bits after the point), as googlenet/images/colour.py has it. Browsers convert otherwise.
const Colour = (() => {
  const ONE = 1 << 14, MAX_BYTES = 4 << 20, LEVELS = 17;
  const FROM_XYZ = [
    [3.1341863642368195, -1.617208958998276, -0.4906940640063842],
    [-0.9787485041906946, 1.9161300967735877, 0.033433399159995617],
    [0.07196392780224682, -0.22899387345320335, 1.4057537328964447],
  ];  // D50 → linear sRGB
  const fixed = (value) => Math.floor(value * ONE + 0.5);
  const word = (value) => Math.min(65535, Math.max(0, Math.floor(value + 0.5)));

  const tagsOf = (profile) => {
    const view = new DataView(profile.buffer, profile.byteOffset, profile.length);
    const text = (at) => String.fromCharCode(...profile.subarray(at, at + 4));
    if (profile.length > MAX_BYTES || text(36) !== "acsp") throw new Damaged("profile");
    const tags = {};
    for (let n = 0; n < Math.min(view.getUint32(128), 200); n += 1) tags[text(132 + 12 * n)] = view.getUint32(136 + 12 * n);
    return { view, text, tags, space: text(16), pcs: text(20) };
  };
  const number = (view, at) => view.getInt32(at) / 65536;

  // A tone curve: 0 to 1 → 0 to 1.
  const curveAt = ({ view, text }, at) => {
    if (text(at) === "para") {
      const kind = view.getUint16(at + 8), count = [1, 3, 4, 5, 7][kind];
      if (!count) throw new Damaged("curve");
      const [g, a = 1, b = 0, c = 0, d = kind === 1 || kind === 2 ? -b / a : kind ? 0 : -Infinity, e = 0, f = 0] =
        Array.from({ length: count }, (_, n) => number(view, at + 12 + 4 * n));
      const above = kind === 2 ? c : e, below = kind === 2 ? () => c : (x) => (kind > 2 ? c * x : 0) + f;
      return (x) => x >= d ? Math.max(0, a * x + b) ** g + above : below(x);
    }
    if (text(at) !== "curv") throw new Damaged("curve");
    const count = view.getUint32(at + 8);
    if (count < 2) {
      const gamma = count ? view.getUint16(at + 12) / 256 : 1;
      return (x) => x ** gamma;
    }
    const table = Array.from({ length: count }, (_, n) => view.getUint16(at + 12 + 2 * n));
    return (x) => {
      const value = word(x * 65535);
      if (value === 65535) return table[count - 1] / 65535;
      const product = (count - 1) * value, place = product + Math.floor((product + 0x7fff) / 0xffff);
      const cell = Math.floor(place / 65536), rest = place % 65536;
      return (table[cell] + Math.floor(((table[cell + 1] - table[cell]) * rest + 0x8000) / 65536)) / 65535;
    };
  };
  const first = (curve) => Int32Array.from({ length: 256 }, (_, n) => fixed(curve(n / 255)));
  let last = null;
  const encode = () => last ??= Uint8Array.from({ length: ONE + 1 }, (_, n) => {
    const x = n / ONE, value = x >= ((0.04045 + 0.055) / 1.055) ** 2.4 ? x ** (1 / 2.4) * 1.055 - 0.055 : x * 12.92;
    return Math.floor((word(Math.min(1, Math.max(0, value)) * 65535) * 65281 + 8388608) / 2 ** 24) & 255;
  });

  // What changes three bytes from `at` on; null where no profile of curves and a matrix is there: the browser converts.
  const transformOf = (profile) => {
    const icc = tagsOf(profile), { tags, view } = icc;
    if (icc.space !== "RGB " || icc.pcs !== "XYZ " || "A2B0" in tags || !["r", "g", "b"].every((c) => `${c}XYZ` in tags && `${c}TRC` in tags)) return null;
    const [red, green, blue] = ["r", "g", "b"].map((c) => first(curveAt(icc, tags[`${c}TRC`])));
    const columns = ["r", "g", "b"].map((c) => [8, 12, 16].map((at) => number(view, tags[`${c}XYZ`] + at)));
    const m = FROM_XYZ.flatMap((row) => columns.map((xyz) => fixed(row[0] * xyz[0] + row[1] * xyz[1] + row[2] * xyz[2])));
    const out = encode(), level = (sum) => out[Math.min(ONE, Math.max(0, Math.floor((sum + 0x2000) / ONE)))];
    return (data, at) => {
      const r = red[data[at]], g = green[data[at + 1]], b = blue[data[at + 2]];
      data[at] = level(m[0] * r + m[1] * g + m[2] * b);
      data[at + 1] = level(m[3] * r + m[4] * g + m[5] * b);
      data[at + 2] = level(m[6] * r + m[7] * g + m[8] * b);
    };
  };

  // Whether a transform changes no colour by more than one level: then it is left out.
  const changesNothing = (transform) => {
    const steps = Array.from({ length: LEVELS }, (_, n) => Math.round(n * 255 / (LEVELS - 1)));
    return steps.every((r) => steps.every((g) => steps.every((b) => {
      const found = [r, g, b];
      transform(found, 0);
      return Math.max(Math.abs(found[0] - r), Math.abs(found[1] - g), Math.abs(found[2] - b)) <= 1;
    })));
  };

  // → the image in sRGB, or null where the browser has to convert. A damaged profile is ignored.
  const toSrgb = (image, profile) => {
    let transform;
    try {
      if (image.channels === 1 && tagsOf(profile).space === "GRAY") return grey(image, profile);
      transform = transformOf(profile);
    } catch { return image; }
    if (!transform) return null;
    if (changesNothing(transform)) return image;
    const made = Resize.withChannels(image, 3);
    for (let at = 0; at < made.data.length; at += 3) transform(made.data, at);
    return made;
  };
  const grey = (image, profile) => {
    const icc = tagsOf(profile);
    if (!("kTRC" in icc.tags)) return null;
    const levels = first(curveAt(icc, icc.tags.kTRC)).map((value) => encode()[Math.min(ONE, Math.max(0, value))]);
    if (levels.every((level, n) => Math.abs(level - n) <= 1)) return image;
    return { ...image, data: image.data.map((value) => levels[value]) };
  };
  return { toSrgb };
})();
