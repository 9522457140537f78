"use strict";

// The page of a server: pictures are held here, and sent with each question; the server keeps what it has
// seen of them, so that asking again costs little. Nothing is sent anywhere else.

const at = (id) => document.getElementById(id);

const state = {
  /** The picture that is asked about: its file, or a video's frames; its URL to show it, and its name. */
  picture: null,
  /** The pictures to be searched. */
  gallery: [],
  /** What the model can do, and how many frames of a video it looks at together. */
  abilities: [],
  frames: 1,
  /** The names of the models, if there are several: the model, and itself with each of its adapters. */
  models: [],
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
  for (const file of picture.files) data.append("image", file, file.name || picture.name);
  for (const [name, value] of fields) data.append(name, value);
  return { method: "POST", body: data };
}

/** Who is asked, as a field of a request: nobody in particular where there is but one model. */
function chosen() {
  return state.models.length > 1 ? [["model", at("models").value]] : [];
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

// Where it looked.

/** Cividis (Nuñez, Anderton and Renslow, 2018), as the library draws maps: its lightness rises evenly, so that it
 *  reads the same for the colour-blind and in print. */
const CIVIDIS = [
  [0, 34, 78], [0, 40, 91], [0, 46, 106], [5, 51, 113], [26, 56, 111], [39, 62, 110], [50, 67, 109], [59, 73, 108],
  [67, 78, 108], [75, 84, 108], [83, 90, 109], [90, 95, 110], [97, 101, 111], [104, 106, 113], [111, 112, 115],
  [118, 118, 118], [125, 124, 120], [132, 130, 121], [140, 136, 120], [147, 142, 120], [155, 148, 118],
  [163, 154, 116], [171, 160, 114], [180, 167, 111], [188, 174, 108], [196, 180, 104], [205, 187, 99],
  [213, 194, 94], [222, 201, 88], [231, 209, 80], [240, 216, 70], [249, 224, 58], [254, 232, 56],
];
/** By how much the picture's darkest places darken a colour. */
const SHADE = 0.45;
/** The longer side of a map, in pixels. */
const SIDE = 384;

function color(place) {
  const exact = Math.min(Math.max(place, 0), 1) * (CIVIDIS.length - 1);
  const below = Math.min(Math.floor(exact), CIVIDIS.length - 2);
  const part = exact - below;
  return CIVIDIS[below].map((channel, n) => channel + (CIVIDIS[below + 1][n] - channel) * part);
}

/** The value at a place of the picture, between the patches' centres interpolated; nothing outside of the grid. */
function valueAt(why, values, x, y) {
  const [left, top, right, bottom] = why.region ?? [0, 0, 1, 1];
  const inside = [(x - left) / (right - left), (y - top) / (bottom - top)];
  if (inside.some((part) => part < 0 || part > 1)) return undefined;
  const [rows, columns] = why.grid;
  const between = (part, cells) => {
    const place = Math.min(Math.max(part * cells - 0.5, 0), cells - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, cells - 1), place - first];
  };
  const [column, beside, across] = between(inside[0], columns);
  const [row, below, down] = between(inside[1], rows);
  const mix = (a, b, part) => a + (b - a) * part;
  const upper = mix(values[row * columns + column], values[row * columns + beside], across);
  const lower = mix(values[below * columns + column], values[below * columns + beside], across);
  return mix(upper, lower, down);
}

/** Draws values over a picture, which is gray there, so that no yellow thing is taken for a high value. */
async function paint(picture, why, values, scale) {
  const bitmap = await createImageBitmap(picture.file);
  const canvas = at("map");
  const size = SIDE / Math.max(bitmap.width, bitmap.height);
  canvas.width = Math.max(Math.round(bitmap.width * size), 1);
  canvas.height = Math.max(Math.round(bitmap.height * size), 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const range = scale.high - scale.low || 1;
  for (let n = 0; n < pixels.data.length; n += 4) {
    const [red, green, blue] = pixels.data.subarray(n, n + 3);
    const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    const x = ((n / 4) % canvas.width + 0.5) / canvas.width;
    const y = (Math.floor(n / 4 / canvas.width) + 0.5) / canvas.height;
    const value = valueAt(why, values, x, y);
    const part = 1 - SHADE * (1 - light / 255);
    const shown = value === undefined ? [light, light, light] : color((value - scale.low) / range).map((of) => of * part);
    pixels.data.set(shown, n);
  }
  context.putImageData(pixels, 0, 0);
}

function scaleOf(maps) {
  const all = maps.flat();
  return { low: Math.min(0, ...all), high: Math.max(0, ...all) };
}

/** Where most of it is, for those who do not see the map. */
function place(why, values) {
  const [rows, columns] = why.grid;
  const most = values.indexOf(Math.max(...values));
  const [row, column] = [Math.floor(most / columns), most % columns];
  const third = (cell, cells, names) => names[Math.min(Math.floor((3 * (cell + 0.5)) / cells), 2)];
  const part = [third(row, rows, ["upper", "", "lower"]), third(column, columns, ["left", "", "right"])];
  const words = part.filter((word) => word).join(" ");
  return `most in the ${words ? `${words} part` : "middle"}, row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
}

/** The words of an answer, each with its tokens' numbers. */
function wordsOf(tokens) {
  const words = [];
  tokens.forEach(({ text }, n) => {
    if (!words.length || /^\s/.test(text)) words.push({ text: "", tokens: [] });
    const word = words[words.length - 1];
    word.text += text;
    word.tokens.push(n);
  });
  return words.map((word) => ({ ...word, text: word.text.trim() })).filter((word) => word.text);
}

/** The mean of some maps, patch by patch. */
function mean(maps) {
  return maps[0].map((_, n) => maps.reduce((sum, map) => sum + map[n], 0) / maps.length);
}

function press(pressed) {
  for (const button of document.querySelectorAll('[aria-pressed="true"]')) button.setAttribute("aria-pressed", "false");
  pressed?.setAttribute("aria-pressed", "true");
}

/** Hides the map, and shows the picture again. */
function plain() {
  const pressed = document.querySelector('[aria-pressed="true"]');
  const inside = at("where").contains(document.activeElement);
  at("where").hidden = true;
  at("shown").hidden = !state.picture;
  press(null);
  if (inside) pressed?.focus();
}

/** Shows a map in a place of the page: over the picture, or beside it. */
async function showMap(home, picture, why, map, what) {
  const { values, scale } = map;
  const isVideo = (why.frames ?? 1) > 1;
  at("map").hidden = isVideo;
  at("drawn").hidden = !isVideo;
  at("legend").hidden = isVideo;
  let told = `Where it looked for “${what}”, frame by frame.`;
  if (isVideo) {
    at("drawn").src = why.picture;
    at("drawn").alt = `Where the model looked in each frame for “${what}”, the frames beside their maps`;
  } else {
    await paint(picture, why, values, scale);
    told = `Where it looked for “${what}”: ${place(why, values)}.`;
    at("map").setAttribute("aria-label", told);
    at("low").textContent = String(Number(scale.low.toPrecision(2)));
    at("high").textContent = String(Number(scale.high.toPrecision(2)));
  }
  home(at("where"));
  at("where").hidden = false;
  // A screen reader tells what changes in what is shown.
  at("told").textContent = told;
}

/** What the server says about an answer, asked once. */
function explainer(pictures, fields) {
  let asked = null;
  return () => {
    const more = state.frames > 1 ? [["picture", "heat_map"]] : [];
    asked ??= call("explain", form(pictures, [...fields, ...more])).then((reply) => reply.json());
    // What failed may be asked again.
    asked.catch(() => (asked = null));
    return asked;
  };
}

/** A button that shows a map when it is pressed, and the picture when it is pressed again. */
function mapButton(className, text, ask, show) {
  const button = element("button", className, text);
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-pressed") === "true") return plain();
    showError("");
    button.setAttribute("aria-busy", "true");
    try {
      const why = await ask();
      // Another picture may have come meanwhile.
      if (!button.isConnected) return;
      await show(why);
      press(button);
    } catch (fault) {
      tell(fault);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}

/** Makes an answer's words, and the whole, show where the model looked for them. */
function explained(item, said, answer, picture, fields) {
  // The token that ends a text is none of it.
  const tokens = answer.finish_reason === "eos" ? answer.tokens.slice(0, -1) : answer.tokens;
  if (!tokens.length || !state.abilities.includes("explain")) return;
  const ids = JSON.stringify(tokens.map((token) => token.id));
  const ask = explainer(picture, [...fields, ["tokens", ids]]);
  const home = (figure) => {
    at("shown").after(figure);
    at("shown").hidden = true;
  };
  const words = wordsOf(tokens);
  const mapOf = (why, word) => mean(word.tokens.map((n) => why.tokens[n].values));
  if (state.frames === 1) {
    said.replaceChildren(
      ...words.flatMap((word, n) => {
        const button = mapButton("word", word.text, ask, (why) => {
          const scale = scaleOf(words.map((other) => mapOf(why, other)));
          return showMap(home, picture, why, { values: mapOf(why, word), scale }, word.text);
        });
        button.title = "Where did it look for this word?";
        return n ? [" ", button] : [button];
      }),
    );
  }
  item.append(
    mapButton("whole", "Where did it look?", ask, (why) =>
      showMap(home, picture, why, { values: why.values, scale: scaleOf([why.values]) }, answer.text),
    ),
  );
}

/** Sends a picture and shows the text that comes, while it grows. */
async function write(path, asked, fields, about = fields) {
  if (!state.picture || state.asking) return;
  showError("");
  const stop = new AbortController();
  const picture = state.picture;
  const model = chosen();
  state.asking = stop;
  busy(true);
  const item = entry(asked);
  // A screen reader waits for the whole, and does not read each piece.
  item.setAttribute("aria-busy", "true");
  const said = item.appendChild(element("p", "said", "…"));
  let text = "";
  let ended = false;
  try {
    const options = form(picture, [...model, ...fields, ["stream", "true"]]);
    const reply = await call(path, { ...options, signal: stop.signal });
    for await (const event of events(reply)) {
      if (event.name === "piece") {
        text += event.data.text;
        said.textContent = text || "…";
      } else if (event.name === "answer") {
        ended = true;
        said.textContent = event.data.text || "(nothing)";
        const sure = [`${percent(event.data.confidence)} sure`, ...model.map(([, name]) => name)].join(", ");
        item.append(element("p", "sure", sure));
        explained(item, said, event.data, picture, [...model, ...about]);
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
    const fields = [...chosen(), ["question", question], ...candidates.map((candidate) => ["candidates", candidate])];
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
    const model = chosen();
    for (const picture of state.gallery) {
      const reply = await call("match", form(picture, [...model, ["texts", text]]));
      const [match] = (await reply.json()).matches;
      found.push({ picture, match });
    }
    plain();
    at("shown").after(at("where"));
    found.sort((a, b) => b.match.probability - a.match.probability);
    at("found").replaceChildren(
      ...found.map(({ picture, match }) => {
        const item = element("li");
        const image = element("img");
        image.src = picture.url;
        image.alt = "";
        const ask = explainer(picture, [...model, ["match", text]]);
        const where = mapButton("whole", "Where?", ask, (why) => {
          const map = { values: why.values, scale: scaleOf([why.values]) };
          return showMap((figure) => item.append(figure), picture, why, map, text);
        });
        where.setAttribute("aria-label", `Where? In ${picture.name}`);
        item.append(image, barLine(element("div", "bar-line"), picture.name, match.probability), where);
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
  const taken = [];
  for (const file of files) {
    // What has no type may be one that the browser does not know: the server tells.
    if (file.type && !file.type.startsWith("image/")) {
      showError(`${file.name} is no picture.`);
      continue;
    }
    taken.push(file);
  }
  const named = (file) => file.name || "pasted picture";
  const made = (some, name) => ({ file: some[0], files: some, name, url: URL.createObjectURL(some[0]) });
  if (state.frames > 1 && taken.length > 1) {
    show(made(taken, `a video of ${taken.length} frames`));
  } else {
    for (const file of taken) show(made([file], named(file)));
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
  plain();
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

/** Names the model, or lets one of several be chosen; a choice that was made stays. */
function offer(names) {
  const before = at("models").value;
  state.models = names;
  at("model").textContent = `Model: ${names[0]}`;
  at("model").hidden = names.length > 1;
  at("choose-model").hidden = names.length < 2;
  at("models").replaceChildren(...names.map((name) => element("option", "", name)));
  at("models").value = names.includes(before) ? before : names[0];
}

async function know() {
  const reply = await call("v1/models");
  const models = (await reply.json()).data;
  // Its adapters can do what the model can.
  const [model] = models;
  offer(models.map(({ id }) => id));
  state.abilities = model.abilities;
  state.frames = model.frames;
  const can = (ability) => model.abilities.includes(ability);
  at("ask-form").hidden = !can("answer");
  at("rank-part").hidden = !can("rank");
  at("caption").hidden = !can("caption");
  at("search").hidden = !can("match");
  if (model.frames > 1) {
    at("hint").textContent = `Drop an animated picture here, or ${model.frames} pictures or more as its frames, or`;
    at("examples").hidden = true;
  }
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
at("caption").addEventListener("click", () => write("caption", "Describe the picture", [], [["caption", "true"]]));
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
at("plain").addEventListener("click", plain);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !at("where").hidden) plain();
});
at("scale").style.background = `linear-gradient(to right, ${CIVIDIS.map((of) => `rgb(${of})`).join(", ")})`;
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = at("key").value;
  sessionStorage.setItem("key", state.key);
  know().catch(tell);
});
know().catch(tell);
