"use strict";
// A page that answers images: how they come in, and how answers look. Where answers come from is a `source`:
//   texts { en, zh }          its own sentences, beside those below
//   load(page)                → { models, keep }; it is called again by page.load()
//   classify(entry, page)     → what the API answers for an image; throws where there is no answer
//   explain(error)            → the sentence for that; retry(error): whether to offer another try
//   examples(model)           → images to try, as files
//   kept(keep)                → the name of the sentence about what becomes of images
//   describe(model), judge(entry, place), live(bitmap, model)      where it has them
const startPage = (source) => {
  const COMMON = {
    en: {
      model: "Model", language: "中文", dropTitle: "Drop images here", dropNote: "or paste them, choose files, take a photograph. Several at a time are fine.",
      choose: "Choose images", photograph: "Take a photograph", examples: "Or try an image that the model comes with:",
      results: "Answers", clear: "Clear", heat: "Heat map", about: "About this model", programs: "Use it from a program",
      copy: "Copy", copied: "Copied", openapi: "The whole API, as OpenAPI", take: "Take", cancel: "Cancel",
      tokenNeeded: "This server asks for a token:", tokenSend: "Send",
      subtitle: (m) => `Tells ${m.classes.length.toLocaleString("en")} classes apart`,
      waiting: "Waiting for the answer …", unknown: "This image is unlike those that the model learnt from: do not rely on the answer.",
      none: "no label", set: (level, names) => `In ${level} of such images the true class is one of: ${names}`,
      noClass: "none of the classes is probable enough",
      place: "Orange speaks for the class, blue against it. The dashed frame is what the model saw.", again: "Try again",
      noCamera: "The camera cannot be used: allow it in the browser, or choose a file.", notImage: "What you dropped holds no files.",
      loaded: (n) => `${n} answered`, classes: "Classes", network: "Network", size: "Image size", precision: "Computed in", trained: "Trained on",
      images: "images", accuracy: "Accuracy on held-out images", hash: "Version (sha256)", interval: (a, b) => ` (95 % interval ${a} to ${b})`,
    },
    zh: {
      model: "模型", language: "English", dropTitle: "把图片拖到这里", dropNote: "也可以粘贴、选择文件或拍照，一次多张也行。",
      choose: "选择图片", photograph: "拍照", examples: "或者试试模型自带的图片：",
      results: "结果", clear: "清除", heat: "热力图", about: "关于这个模型", programs: "在程序中使用",
      copy: "复制", copied: "已复制", openapi: "完整的 API（OpenAPI）", take: "拍摄", cancel: "取消",
      tokenNeeded: "此服务器需要令牌：", tokenSend: "发送",
      subtitle: (m) => `可区分 ${m.classes.length.toLocaleString("zh")} 个类别`,
      waiting: "正在等待结果……", unknown: "这张图片与模型学过的图片都不像，请不要依赖这个结果。",
      none: "没有标签", set: (level, names) => `对于 ${level} 的此类图片，真实类别是其中之一：${names}`,
      noClass: "没有足够可能的类别",
      place: "橙色支持该类别，蓝色反对。虚线框是模型看到的部分。", again: "重试",
      noCamera: "无法使用摄像头：请在浏览器中允许，或选择文件。", notImage: "拖入的内容里没有文件。",
      loaded: (n) => `已有 ${n} 个结果`, classes: "类别", network: "网络", size: "图片尺寸", precision: "计算精度", trained: "训练数据",
      images: "张图片", accuracy: "留出图片上的准确率", hash: "版本（sha256）", interval: (a, b) => `（95 % 区间 ${a} 至 ${b}）`,
    },
  };
  const TEXTS = { en: { ...COMMON.en, ...source.texts.en }, zh: { ...COMMON.zh, ...source.texts.zh } };
  const AT_ONCE = 3, SHOWN = 640, MAX_CLASSES = 200;
  const at = (id) => document.getElementById(id);
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const isolated = (text) => make("bdi", { textContent: text });
  let models = [], keep = false, answered = 0, running = 0, loading = null;
  const entries = [], queue = [];
  const page = { texts: TEXTS.en, at, make };
  const model = () => models[at("model").selectedIndex] ?? models[0];

  // Language: that of the reader; the button changes it.
  const speak = (language) => {
    const texts = page.texts = TEXTS[language];
    document.documentElement.lang = language;
    for (const each of document.querySelectorAll("[data-t]")) each.textContent = texts[each.dataset.t];
    const button = at("language");
    button.textContent = texts.language;
    button.lang = language === "zh" ? "en" : "zh";
    describe();
    tellProblem();
    for (const entry of entries) show(entry);
  };
  // What keeps the page from answering, or must be known of its answers: page.problem() is the sentence.
  const tellProblem = () => {
    const said = page.problem?.() ?? "";
    at("needs").textContent = said;
    at("needs").hidden = !said;
  };

  // An image as the model sees it. Browsers turn JPEGs as their EXIF block says, but not every one does so with WebP.
  const TURNS = {
    2: (w) => [-1, 0, 0, 1, w, 0], 3: (w, h) => [-1, 0, 0, -1, w, h], 4: (w, h) => [1, 0, 0, -1, 0, h], 5: () => [0, 1, 1, 0, 0, 0],
    6: (w, h) => [0, 1, -1, 0, h, 0], 7: (w, h) => [0, -1, -1, 0, h, w], 8: (w) => [0, -1, 1, 0, 0, w],
  };
  const preview = async (file) => {
    const isWebp = await file.slice(8, 16).text() === "WEBPVP8X", webp = isWebp && withoutExif(new Uint8Array(await file.arrayBuffer()));
    const bitmap = await createImageBitmap(webp ? webp.file : file), { width, height } = bitmap, turn = TURNS[webp?.orientation];
    if (!turn) return bitmap;
    const shown = make("canvas", webp.orientation > 4 ? { width: height, height: width } : { width, height });
    const pen = shown.getContext("2d");
    pen.setTransform(...turn(width, height));
    pen.drawImage(bitmap, 0, 0);
    return shown;
  };

  // Asking.
  const work = async () => {
    if (running >= AT_ONCE) return;
    running += 1;
    while (queue.length) {
      const entry = queue.shift();
      if (!entries.includes(entry)) continue;
      try {
        Object.assign(entry, { result: await source.classify(entry, page), error: null, state: "answered" });
        at("said").textContent = page.texts.loaded(++answered);
      } catch (error) {
        Object.assign(entry, { error, state: "failed" });
      }
      show(entry);
    }
    running -= 1;
  };
  const send = (entry) => {
    Object.assign(entry, { state: "waiting", error: null });
    show(entry);
    queue.push(entry);
    work();
  };
  const add = async (files) => {
    await loading;  // whoever is early is answered once the model is there
    if (!models.length) return;
    for (const file of files) {
      const item = at("answer").content.firstElementChild.cloneNode(true);
      const entry = { file, item, model: model(), state: "waiting" };
      entries.unshift(entry);
      at("answers").prepend(item);
      at("results").hidden = false;
      try {
        entry.bitmap = await preview(file);
      } catch {
        entry.bitmap = null;
      }
      send(entry);
    }
  };

  // Showing.
  const show = (entry) => {
    const { item, state, result } = entry, { texts } = page, inside = (name) => item.querySelector(`.${name}`);
    item.className = state === "answered" ? "" : state === "failed" ? "failed" : "waiting";
    inside("name").replaceChildren(isolated(entry.file.name || ""));
    const label = inside("label");
    if (state === "waiting") label.textContent = entry.wait?.() ?? texts.waiting;
    if (state === "failed") {
      label.textContent = `${source.explain(entry.error, page, entry)} `;
      if (source.retry(entry.error)) label.append(make("button", { type: "button", textContent: texts.again, onclick: () => send(entry) }));
    }
    const done = state === "answered";
    for (const name of ["top", "times"]) inside(name).hidden = !done;
    draw(entry);
    if (!done) return;
    tell(inside, result);
    inside("set").hidden = !result.set || result.unknown;  // sets promise nothing for images of another kind
    if (result.set) inside("set").textContent = texts.set(`${Math.round(100 * result.set.level)} %`, result.set.labels.join(", ") || texts.noClass);
    if (result.heatmap) at("heat-choice").hidden = at("heat-note").hidden = false;
    inside("times").textContent = texts.times(result.times) + (entry.bitmap || !texts.cannotShow ? "" : ` – ${texts.cannotShow}`);
    inside("judge").hidden = !keep;
    if (keep) source.judge(entry, inside("judge"), page);
  };
  const tell = (inside, result) => {
    const { texts } = page, shown = result.labels ? result.labels.join(", ") || texts.none : result.label;
    inside("label").replaceChildren(isolated(shown), result.labels ? "" : ` ${percent(result.probability)}`);
    inside("warning").hidden = !result.unknown;
    inside("warning").textContent = texts.unknown;
    inside("top").replaceChildren(...result.top.map((each) => {
      const fill = make("span", { className: "fill" });
      fill.style.setProperty("--share", `${100 * each.probability}%`);
      return make("li", {}, isolated(each.label), make("span", { className: "track" }, fill), make("span", { className: "value", textContent: percent(each.probability) }));
    }));
  };
  const draw = (entry) => {
    const canvas = entry.item.querySelector("canvas");
    if (!entry.bitmap) { canvas.hidden = true; return; }
    const scale = Math.min(1, SHOWN / Math.max(entry.bitmap.width, entry.bitmap.height));
    const enlarged = Math.max(scale, Math.min(8, 240 / Math.max(entry.bitmap.width, entry.bitmap.height)));
    const width = canvas.width = Math.max(1, Math.round(entry.bitmap.width * enlarged));
    const height = canvas.height = Math.max(1, Math.round(entry.bitmap.height * enlarged));
    const pen = canvas.getContext("2d");
    pen.drawImage(entry.bitmap, 0, 0, width, height);
    canvas.setAttribute("role", "img");
    const said = entry.result ? `: ${entry.result.label} ${percent(entry.result.probability)}` : "";
    canvas.setAttribute("aria-label", entry.result?.heatmap?.sentence ?? `${entry.file.name}${said}`);
    const heat = entry.result?.heatmap, strength = at("heat").value / 100;
    if (!heat || !strength) return;
    const { rows, columns, box } = heat.grid, most = Math.max(...heat.values.flat().map(Math.abs)) || 1;
    const map = new ImageData(columns, rows);
    heat.values.flat().forEach((value, index) => {
      map.data.set(value >= 0 ? [255, 120, 0, 255 * value / most] : [30, 110, 255, 255 * -value / most], 4 * index);
    });
    const small = make("canvas", { width: columns, height: rows });
    small.getContext("2d").putImageData(map, 0, 0);
    const area = [box[0] * width, box[1] * height, (box[2] - box[0]) * width, (box[3] - box[1]) * height];
    pen.globalAlpha = strength;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, ...area);
    pen.globalAlpha = 1;
    pen.setLineDash([6, 5]);
    pen.lineWidth = 1.5;
    pen.strokeStyle = "rgb(255 255 255 / .8)";
    pen.strokeRect(area[0] + 1, area[1] + 1, area[2] - 2, area[3] - 2);
  };
  const describe = () => {
    const { texts } = page;
    at("kept").textContent = texts[source.kept(keep)];
    const found = model();
    if (!found) return;
    document.title = at("title").textContent = found.name;
    at("subtitle").textContent = texts.subtitle(found);
    const few = found.classes.slice(0, MAX_CLASSES), rest = found.classes.length - few.length;
    const ends = found.intervals?.top1, top1 = found.metrics?.top1;
    const rows = [
      [texts.classes, few.join(", ") + (rest ? ` … +${rest}` : "")], [texts.network, found.network],
      [texts.size, `${found.image_size} × ${found.image_size}`], [texts.precision, found.precision],
      found.data?.train ? [texts.trained, `${found.data.train.toLocaleString()} ${texts.images}`] : null,
      top1 === undefined ? null : [texts.accuracy, percent(top1) + (ends ? texts.interval(percent(ends.low), percent(ends.high)) : "")],
      [texts.hash, found.sha256],
    ];
    document.querySelector("#about dl").replaceChildren(...rows.filter(Boolean).map(([name, value]) =>
      make("div", {}, make("dt", { textContent: name }), make("dd", {}, isolated(value)))));
    at("programs").hidden = !source.describe;
    source.describe?.(found, page);
  };
  const offer = async () => {
    const found = model(), place = document.querySelector(".samples");
    place.replaceChildren();
    at("examples").hidden = !(found.examples.length ?? found.examples);  // names, or how many there are
    for await (const file of source.examples(found)) {
      if (found !== model()) return;
      const bitmap = await preview(file), shown = make("canvas", { width: bitmap.width, height: bitmap.height });
      shown.getContext("2d").drawImage(bitmap, 0, 0);
      const button = make("button", { type: "button", onclick: () => add([file]) }, shown);
      button.setAttribute("aria-label", `${page.texts.examples} ${place.children.length + 1}`);
      place.append(button);
    }
  };
  const load = async () => {
    page.problem = null;
    try {
      ({ models, keep = false } = await source.load(page));
    } catch (error) {
      at("subtitle").textContent = "";
      page.problem = () => source.explain(error, page);
    }
    tellProblem();
    at("drop").hidden = at("about").hidden = !models.length && Boolean(page.problem?.());
    if (!models.length) return;
    at("model").replaceChildren(...models.map((each) => make("option", { textContent: each.name })));
    at("model-choice").hidden = models.length < 2;
    describe();
    offer();
  };

  // Dropping, pasting, choosing, photographing.
  const drop = at("drop");
  let depth = 0;
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; drop.classList.add("over"); });
  addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) drop.classList.remove("over"); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    drop.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length) add(files); else at("said").textContent = page.texts.notImage;
  });
  addEventListener("paste", (event) => { if (event.clipboardData?.files.length) add([...event.clipboardData.files]); });
  for (const input of [at("files"), at("capture")]) {
    input.addEventListener("change", () => { add([...input.files]); input.value = ""; });
  }
  at("choose").addEventListener("click", () => at("files").click());
  const camera = at("camera"), video = camera.querySelector("video");
  at("photograph").addEventListener("click", async () => {
    if (!navigator.mediaDevices?.getUserMedia) { at("capture").click(); return; }
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      at("said").classList.remove("hidden");
      at("said").textContent = page.texts.noCamera;
      return;
    }
    camera.showModal();
    await video.play();
    if (source.live && models.length) watch();
  });
  const watch = async () => {  // what the camera sees is answered as it comes, one image at a time
    const place = at("live"), inside = (name) => place.querySelector(`.${name}`);
    while (camera.open && video.srcObject) {
      const result = await createImageBitmap(video).then((bitmap) => source.live(bitmap, model())).catch(() => null);
      if (!result || !camera.open) break;
      place.hidden = false;
      tell(inside, { ...result, top: result.top.slice(0, 3) });
      await new Promise(requestAnimationFrame);
    }
  };
  camera.addEventListener("close", () => { video.srcObject?.getTracks().forEach((each) => each.stop()); video.srcObject = null; at("live").hidden = true; });
  at("leave").addEventListener("click", () => camera.close());
  at("take").addEventListener("click", () => {
    const shot = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    shot.getContext("2d").drawImage(video, 0, 0);
    shot.toBlob((blob) => add([new File([blob], "photograph.png", { type: "image/png" })]), "image/png");
    camera.close();
  });

  // The rest.
  at("heat").addEventListener("input", () => entries.forEach(draw));
  at("clear").addEventListener("click", () => { entries.length = 0; at("answers").replaceChildren(); at("results").hidden = true; at("choose").focus(); });
  at("language").addEventListener("click", () => speak(document.documentElement.lang === "zh" ? "en" : "zh"));
  at("model").addEventListener("change", () => { describe(); offer(); });
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(button.closest("figure").querySelector("code").textContent);
      button.textContent = page.texts.copied;
      setTimeout(() => { button.textContent = page.texts.copy; }, 2000);
    });
  }
  page.show = show;
  page.load = () => { loading = load(); };
  speak((navigator.languages || [navigator.language]).map((each) => each.slice(0, 2)).find((each) => each in TEXTS) || "en");
  page.load();
};
