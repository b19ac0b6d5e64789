"use strict";
// A file → the pixels a network sees. JPEGs are decoded here, all else by the browser.
class Refusal extends Error {
  constructor(code) { super(code); this.code = code; }
}

const Pixels = (() => {
  const MAX_PIXELS = 100e6;

  const canvasOf = (width, height) => new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });

  // Some browsers add noise to what pages read from a canvas.
  const isNoisy = () => {
    const pen = canvasOf(16, 16), pattern = new ImageData(16, 16);
    for (let n = 0; n < pattern.data.length; n += 1) pattern.data[n] = n % 4 === 3 ? 255 : n * 37 & 255;
    pen.putImageData(pattern, 0, 0);
    return pen.getImageData(0, 0, 16, 16).data.some((value, n) => value !== pattern.data[n]);
  };

  // What a browser decoded, over white, as RGB.
  const ofBitmap = (bitmap) => {
    const { width, height } = bitmap, pen = canvasOf(width, height), data = new Uint8ClampedArray(3 * width * height);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    const read = pen.getImageData(0, 0, width, height).data;
    for (let from = 0, to = 0; from < read.length; from += 4, to += 3) {
      data[to] = read[from];
      data[to + 1] = read[from + 1];
      data[to + 2] = read[from + 2];
    }
    return { width, height, channels: 3, data };
  };
  const byBrowser = async (file, applied) => {
    let bitmap;
    try {
      const options = { colorSpaceConversion: applied ? "default" : "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
      bitmap = await createImageBitmap(file, options);
    } catch {
      throw new Refusal("notImage");
    }
    if (bitmap.width * bitmap.height > MAX_PIXELS) throw new Refusal("large");
    return ofBitmap(bitmap);
  };
  const ofJpeg = (bytes, preprocessing) => {
    const image = Jpeg.decode(bytes, Resize.resizedSide(preprocessing), MAX_PIXELS);
    const applied = preprocessing.color_profiles === "applied" && image.profile;
    const found = applied ? Colour.toSrgb(image, image.profile) : image;
    return found && Resize.upright(found, image.orientation);
  };

  // → { width, height, channels, data } of a Blob. Throws a Refusal where it cannot be read.
  const read = async (file, preprocessing) => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (!bytes.length) throw new Refusal("empty");
    if (Jpeg.is(bytes)) {
      try {
        const found = ofJpeg(bytes, preprocessing);
        if (found) return found;
      } catch (error) {
        if (error.message === "cut" || error.message === "large") throw new Refusal(error.message);
        if (!(error instanceof Unusual || error instanceof Damaged)) throw error;
      }
    }
    const webp = withoutExif(bytes), found = await byBrowser(webp?.file ?? file, preprocessing.color_profiles === "applied");
    return webp ? Resize.upright(found, webp.orientation) : found;
  };

  // → what the network sees, (size, size, channels), and the part of the image that this is, in fractions of its sides.
  const seen = (image, preprocessing) => {
    const { width, height } = image, [left, top, right, bottom] = Resize.cropBox(width, height, preprocessing);
    const pixels = Resize.resizeAndCrop(Resize.withChannels(image, preprocessing.channels), preprocessing);
    return { pixels, box: [left / width, top / height, right / width, bottom / height] };
  };
  return { read, ofBitmap, seen, isNoisy };
})();
