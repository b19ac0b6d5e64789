"use strict";
// The page's answers come from the server that it came from.
(() => {
  class Refused extends Error {
    constructor(message, status, code, seconds) { super(message); Object.assign(this, { status, code, seconds }); }
  }
  let token = "";
  const ask = async (path, options = {}) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused("", 0);
    }
    if (answer.ok) return answer.json();
    const said = await answer.json().catch(() => null);
    if (answer.status === 401) document.getElementById("ask-token").hidden = false;
    const { message, code } = said?.error ?? { message: `${answer.status} ${answer.statusText}` };
    throw new Refused(message, answer.status, code, Number(answer.headers.get("Retry-After")) || 1);
  };
  const form = (entry) => {
    const made = new FormData();
    made.append("image", entry.file, entry.file.name || "image.png");
    return made;
  };
  startPage({
    texts: {
      en: {
        busy: (s) => `The server is busy; trying again in ${s} s …`,
        times: (t) => `decoded in ${t.decode_ms.toFixed(1)} ms, waited ${t.queue_ms.toFixed(1)} ms, computed in ${t.infer_ms.toFixed(1)} ms`,
        judge: "Is that right?", right: "Right", wrong: "No, it is", keep: "Keep", kept: "Kept for training, thank you.",
        unreachable: "The server cannot be reached. Check the connection, then try again.",
        cannotShow: "Your browser cannot show this format, but the model can read it.",
        keeping: "Images that you judge are kept on the server, to train on; all others are forgotten after the answer.",
        notKeeping: "Images are sent to this server only, and forgotten after the answer.",
        codes: { deadline: "The server took too long. Try again, or later." },  // what the server says of the others is for people, too
      },
      zh: {
        busy: (s) => `服务器繁忙，${s} 秒后重试……`,
        times: (t) => `解码 ${t.decode_ms.toFixed(1)} 毫秒，等待 ${t.queue_ms.toFixed(1)} 毫秒，计算 ${t.infer_ms.toFixed(1)} 毫秒`,
        judge: "对吗？", right: "对", wrong: "不对，应为", keep: "保存", kept: "已保存用于训练，谢谢。",
        unreachable: "无法连接服务器。请检查网络后重试。",
        cannotShow: "浏览器无法显示这种格式，但模型可以读取。",
        keeping: "您判断过的图片会保存在服务器上用于训练，其他图片在给出结果后即被丢弃。",
        notKeeping: "图片只发送到此服务器，给出结果后即被丢弃。",
        codes: {
          unreadable: "无法读取：这不是图片，或者图片已损坏。", too_large: "图片太大，请缩小后重试。", deadline: "服务器用时过长，请稍后重试。",
        },
      },
    },
    load: async ({ at, load }) => {
      at("ask-token").onsubmit = (event) => { event.preventDefault(); token = at("token").value; load(); };
      const found = await ask("v1/models");
      at("ask-token").hidden = true;
      return found;
    },
    classify: async (entry, page) => {
      const query = new URLSearchParams({ model: entry.model.name, top: 5 });
      if (entry.model.heatmap) query.set("heatmap", "numbers");
      if (entry.model.sets) query.set("sets", Math.min(entry.model.sets, 0.9));
      for (;;) {
        try {
          return (await ask(`v1/classify?${query}`, { method: "POST", body: form(entry) })).results[0];
        } catch (error) {
          if (error.code === "no_heatmap" && query.has("heatmap")) {  // a map of a single place tells nothing: answer without
            query.delete("heatmap");
            continue;
          }
          if (error.status !== 503) throw error;
          entry.wait = () => page.texts.busy(error.seconds);
          page.show(entry);
          await new Promise((then) => setTimeout(then, 1000 * error.seconds));
          entry.wait = null;
        }
      }
    },
    explain: (error, { texts }) => error.status === 401 ? "" : error.status ? texts.codes[error.code] ?? error.message : texts.unreachable,
    retry: (error) => !error.status || error.status === 401 || error.status >= 500,
    kept: (keep) => keep ? "keeping" : "notKeeping",
    judge: (entry, place, { texts, make }) => {
      if (entry.kept) { place.replaceChildren(texts.kept); return; }
      const say = async (label) => {
        const query = new URLSearchParams({ model: entry.model.name, label, answer: entry.result.label });
        try {
          await ask(`v1/feedback?${query}`, { method: "POST", body: form(entry) });
          entry.kept = true;
          place.replaceChildren(texts.kept);
        } catch (error) {
          place.append(make("span", { className: "warning", textContent: error.message || texts.unreachable }));
        }
      };
      const correct = make("button", { type: "button", className: "correct", textContent: texts.keep, disabled: true, onclick: () => say(choice.value) });
      const choice = make("select", { onchange: () => { correct.disabled = !choice.value; } }, make("option", { value: "", textContent: "…" }), ...entry.model.classes.filter((each) => each !== entry.result.label).map((each) => make("option", { value: each, textContent: each })));
      choice.setAttribute("aria-label", texts.wrong);
      place.replaceChildren(
        make("span", { textContent: texts.judge }),
        make("button", { type: "button", className: "right", textContent: texts.right, onclick: () => say(entry.result.label) }),
        make("label", {}, `${texts.wrong} `, choice),
        correct,
      );
    },
    describe: (found, { at }) => {
      const url = new URL(`v1/classify?model=${encodeURIComponent(found.name)}`, location.href).href;
      const known = token ? ` -H "Authorization: Bearer $TOKEN"` : "";
      at("curl").textContent = `curl -F image=@IMAGE.jpg${known} '${url}'`;
      at("python").textContent = `import json, urllib.request\n\nrequest = urllib.request.Request(\n    ${JSON.stringify(url)},\n    data=open("IMAGE.jpg", "rb").read(),\n    headers={"Content-Type": "application/octet-stream"${token ? `, "Authorization": "Bearer " + TOKEN` : ""}},\n)\nanswer = json.load(urllib.request.urlopen(request))\nprint(answer["results"][0]["label"], answer["results"][0]["probability"])`;
    },
    async* examples(found) {
      for (let number = 0; number < Math.min(found.examples, 6); number += 1) {
        const path = `v1/models/${encodeURIComponent(found.name)}/examples/${number}`;
        const answer = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} }).catch(() => null);
        if (answer?.ok) yield new File([await answer.blob()], `${number + 1}.png`, { type: "image/png" });
      }
    },
  });
})();
