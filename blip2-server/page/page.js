"use strict";

// The page of a server: pictures are held here, and sent with each question; the server keeps what it has
// seen of them, so that asking again costs little. Nothing is sent anywhere else.

const at = (id) => document.getElementById(id);

const state = {
  /** The picture that is asked about: a file, its URL to show it, and its name. */
  picture: null,
  /** The pictures to be searched. */
  gallery: [],
  /** What the model can do. */
  abilities: [],
  /** Stops the answer that is being written. */
  asking: null,
  key: sessionStorage.getItem("key") || "",
};

// Showing.

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function showError(text) {
  at("error").textContent = text;
  at("error").hidden = !text;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

function barLine(line, text, share) {
  const bar = element("div", "bar");
  bar.setAttribute("aria-hidden", "true");
  const full = bar.appendChild(element("span"));
  full.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  line.append(element("span", "", text), bar, element("span", "number", percent(share)));
  return line;
}

function entry(asked) {
  const item = element("li");
  item.append(element("p", "asked", asked));
  at("log").prepend(item);
  return item;
}

// Asking.

class Fault extends Error {}

async function call(path, options) {
  const headers = new Headers(options?.headers);
  if (state.key) headers.set("Authorization", `Bearer ${state.key}`);
  let reply;
  try {
    reply = await fetch(path, { ...options, headers });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Fault("The server does not answer. It may be starting again: try once more.");
  }
  if (reply.ok) return reply;
  at("key-form").hidden = reply.status !== 401;
  let text = `The server answers ${reply.status}.`;
  try {
    text = (await reply.json()).error.message;
  } catch {
    // A proxy may have answered.
  }
  throw new Fault(text);
}

function form(picture, fields) {
  const data = new FormData();
  data.append("image", picture.file, picture.name);
  for (const [name, value] of fields) data.append(name, value);
  return { method: "POST", body: data };
}

/** The events of a reply, as they come. */
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const block = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) =>
        block.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trimStart()).join("\n");
      const data = field("data:");
      if (data) yield { name: field("event:"), data: JSON.parse(data) };
    }
  }
}

/** Sends a picture and shows the text that comes, while it grows. */
async function write(path, asked, fields) {
  if (!state.picture || state.asking) return;
  showError("");
  const stop = new AbortController();
  state.asking = stop;
  busy(true);
  const item = entry(asked);
  // A screen reader waits for the whole, and does not read each piece.
  item.setAttribute("aria-busy", "true");
  const said = item.appendChild(element("p", "said", "…"));
  let text = "";
  let ended = false;
  try {
    const options = form(state.picture, [...fields, ["stream", "true"]]);
    const reply = await call(path, { ...options, signal: stop.signal });
    for await (const event of events(reply)) {
      if (event.name === "piece") {
        text += event.data.text;
        said.textContent = text || "…";
      } else if (event.name === "answer") {
        ended = true;
        said.textContent = event.data.text || "(nothing)";
        item.append(element("p", "sure", `${percent(event.data.confidence)} sure`));
      } else if (event.name === "error") {
        throw new Fault(event.data.error.message);
      }
    }
    if (!ended) throw new Fault("The answer broke off: the server may have stopped.");
  } catch (fault) {
    if (fault.name === "AbortError") {
      item.append(element("p", "sure", "stopped"));
    } else {
      if (!text) item.remove();
      tell(fault);
    }
  } finally {
    item.removeAttribute("aria-busy");
    state.asking = null;
    busy(false);
  }
}

async function rank(question, candidates) {
  if (!state.picture || state.asking) return;
  showError("");
  busy(true);
  try {
    const fields = [["question", question], ...candidates.map((candidate) => ["candidates", candidate])];
    const reply = await call("rank", form(state.picture, fields));
    const { ranked } = await reply.json();
    const item = entry(question);
    const bars = item.appendChild(element("ol", "bars"));
    for (const { text, share } of ranked) bars.append(barLine(element("li"), text, share));
  } catch (fault) {
    tell(fault);
  } finally {
    busy(false);
  }
}

async function search(text) {
  showError("");
  busy(true);
  try {
    const found = [];
    for (const picture of state.gallery) {
      const reply = await call("match", form(picture, [["texts", text]]));
      const [match] = (await reply.json()).matches;
      found.push({ picture, match });
    }
    found.sort((a, b) => b.match.probability - a.match.probability);
    at("found").replaceChildren(
      ...found.map(({ picture, match }) => {
        const item = element("li");
        const image = element("img");
        image.src = picture.url;
        image.alt = "";
        item.append(image, barLine(element("div", "bar-line"), picture.name, match.probability));
        return item;
      }),
    );
  } catch (fault) {
    tell(fault);
  } finally {
    busy(false);
  }
}

function tell(fault) {
  showError(fault instanceof Fault ? fault.message : `The page failed: ${fault.message}`);
}

function busy(is) {
  for (const button of document.querySelectorAll("form button, #caption")) button.disabled = is;
  at("stop").disabled = false;
  at("stop").hidden = !state.asking;
}

// Pictures.

function take(files) {
  showError("");
  for (const file of files) {
    // What has no type may be one that the browser does not know: the server tells.
    if (file.type && !file.type.startsWith("image/")) {
      showError(`${file.name} is no picture.`);
      continue;
    }
    show({ file, name: file.name || "pasted picture", url: URL.createObjectURL(file) });
  }
}

function show(picture) {
  if (state.abilities.includes("match")) {
    state.gallery.push(picture);
    const item = at("gallery").appendChild(element("li"));
    const image = item.appendChild(element("img"));
    image.src = picture.url;
    image.alt = picture.name;
    at("search").hidden = false;
    return;
  }
  if (state.picture) URL.revokeObjectURL(state.picture.url);
  state.asking?.abort();
  state.picture = picture;
  at("shown").src = picture.url;
  at("shown").alt = `The picture that is asked about: ${picture.name}`;
  at("shown").hidden = false;
  at("hint").hidden = true;
  at("choose").textContent = "Choose another picture";
  at("log").replaceChildren();
  at("talk").hidden = false;
}

async function example(button) {
  const name = `${button.dataset.example}.png`;
  try {
    const reply = await call(`examples/${name}`);
    const file = new File([await reply.blob()], name, { type: "image/png" });
    take([file]);
  } catch (fault) {
    tell(fault);
  }
}

// The model.

async function know() {
  const reply = await call("v1/models");
  const [model] = (await reply.json()).data;
  state.abilities = model.abilities;
  const can = (ability) => model.abilities.includes(ability);
  at("model").textContent = `Model: ${model.id}`;
  at("ask-form").hidden = !can("answer");
  at("rank-part").hidden = !can("rank");
  at("caption").hidden = !can("caption");
  at("search").hidden = !can("match");
  at("key-form").hidden = true;
  showError("");
}

// What people do.

at("choose").addEventListener("click", () => at("file").click());
at("file").addEventListener("change", () => {
  take(at("file").files);
  at("file").value = "";
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => example(button));
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) take(event.clipboardData.files);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
at("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = at("question").value.trim();
  if (!question) return at("question").focus();
  write("answer", question, [["question", question]]).then(() => at("question").select());
});
at("stop").addEventListener("click", () => state.asking?.abort());
at("caption").addEventListener("click", () => write("caption", "Describe the picture", []));
at("rank-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = at("question").value.trim();
  const lines = at("candidates").value.split("\n").map((line) => line.trim());
  const candidates = lines.filter((line) => line);
  if (!question) return showError("Write a question first, which the answers are ranked for.");
  if (!candidates.length) return at("candidates").focus();
  rank(question, candidates);
});
at("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return at("text").focus();
  if (!state.gallery.length) return showError("Add a picture first.");
  search(text);
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = at("key").value;
  sessionStorage.setItem("key", state.key);
  know().catch(tell);
});
know().catch(tell);
