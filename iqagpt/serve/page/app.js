// The page of `iqagpt serve`. Text from outside is only ever put in as text, never as HTML; nothing is loaded from elsewhere.

const at = (id) => document.getElementById(id);
const PICTURE = /\.(png|tiff?)$/i;

let info = null;
const images = []; // opened ones: {result, pixels, log, questions, lastSlice}
let current = null;
let overlay = null; // {heat, legend, key}
let waitingPictures = [];
let turn = 0; // of slices and overlays: a late answer to an old wish is dropped

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is iqagpt serve still running?");
  }
  if (answer.ok) return answer;
  let reason = `The server answered ${answer.status}.`;
  try {
    reason = (await answer.json()).error || reason;
  } catch { /* not JSON: keep the status */ }
  throw new Error(reason);
}

function showError(error) {
  at("alert").hidden = !error;
  at("alert").textContent = error ? error.message : "";
}

function showStatus(text) {
  at("status").textContent = text;
}

// Opening

async function openFiles(files) {
  showError(null);
  const pictures = files.filter((file) => PICTURE.test(file.name));
  for (const file of files) if (!pictures.includes(file)) await openFile(file);
  waitingPictures = pictures;
  at("picture").hidden = !pictures.length;
  if (pictures.length) at("black").focus();
}

async function openFile(file, window) {
  if (file.size > info.max_upload_bytes) {
    showError(new Error(`${file.name} has ${megabytes(file.size)}; at most ${megabytes(info.max_upload_bytes)} are taken.`));
    return;
  }
  const form = new FormData();
  if (window) {
    form.append("lower", window[0]);
    form.append("upper", window[1]);
  }
  form.append("file", file, file.name);
  await open(file.name, () => request("/api/assess", { method: "POST", body: form }));
}

async function open(name, ask) {
  showStatus(`Reading and assessing ${name} ...`);
  try {
    const result = await (await ask()).json();
    const opened = { result, pixels: await loadPixels(result), log: [], questions: [], lastSlice: result.slice };
    images.push(opened);
    await show(opened);
    showStatus("");
  } catch (error) {
    showStatus("");
    showError(error);
  }
}

async function loadPixels(result) {
  const answer = await request(`/api/images/${result.image}/pixels?slice=${result.slice}`);
  const view = new DataView(await answer.arrayBuffer());
  const pixels = new Int16Array(view.byteLength / 2);
  for (let k = 0; k < pixels.length; k++) pixels[k] = view.getInt16(2 * k, true);
  return pixels;
}

const megabytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;

async function remove(opened) {
  images.splice(images.indexOf(opened), 1);
  fetch(`/api/images/${opened.result.image}`, { method: "DELETE" }).catch(() => {});
  if (current === opened) await show(images[images.length - 1] || null);
  else showTabs();
  at("file").focus();
}

// Showing

async function show(opened) {
  current = opened;
  turn++;
  overlay = null;
  for (const id of ["viewer", "result", "dialogue"]) at(id).hidden = !opened;
  showTabs();
  if (!opened) return;
  const { result } = opened;
  at("slices").hidden = result.slices < 2;
  at("slice").max = result.slices - 1;
  at("slice").value = result.slice;
  at("log").replaceChildren(...opened.log);
  showResult();
  draw();
}

function showTabs() {
  at("images").hidden = !images.length;
  at("images").replaceChildren(...images.map((opened) => {
    const tab = element("span");
    const choose = element("button", "", opened.result.name);
    choose.title = opened.result.name;
    choose.setAttribute("aria-current", String(opened === current));
    choose.addEventListener("click", () => show(opened));
    const close = element("button", "", "×");
    close.setAttribute("aria-label", `Close ${opened.result.name}`);
    close.addEventListener("click", () => remove(opened));
    tab.append(choose, close);
    return tab;
  }));
}

function showResult() {
  const { result } = current;
  at("warnings").replaceChildren(...result.warnings.map((text) => element("p", "note", `Warning: ${text}`)));
  at("scores").replaceChildren(...info.criteria.map(scoreRow));
  showCaption(result.caption);
  showFacts(result);
  showExports();
}

function scoreRow(criterion) {
  const { result } = current;
  const score = criterion.key in result.scores ? result.scores[criterion.key] ?? "N/A" : "?";
  const row = element("button", "score");
  row.type = "button";
  row.dataset.map = `criterion=${criterion.key}`;
  row.setAttribute("aria-pressed", "false");
  const value = element("span", typeof score === "number" ? "value" : "value none", String(score));
  value.dataset.score = score;
  row.append(value, element("span", "title", criterion.title), element("span", "words", result.descriptions[criterion.key]));
  row.append(bars(result.probabilities[criterion.key] || {}, score));
  row.addEventListener("click", () => toggleMap(row, criterion.title));
  const item = element("div");
  item.setAttribute("role", "listitem");
  item.append(row);
  return item;
}

function bars(shares, score) {
  const box = element("span", "bars");
  const told = [];
  for (const step of ["1", "2", "3", "4", "n/a"].filter((name) => name in shares)) {
    const percent = Math.round(100 * shares[step]);
    told.push(`${step}: ${percent} %`);
    const bar = element("span", "bar");
    bar.classList.toggle("chosen", step === String(score).toLowerCase());
    const fill = element("i");
    fill.style.height = `${Math.max(2, percent)}%`;
    bar.append(fill, element("span", "", `${percent}%`), element("span", "", step));
    bar.setAttribute("aria-hidden", "true");
    box.append(bar);
  }
  box.title = `Probabilities: ${told.join(", ")}`;
  box.append(element("span", "hidden", box.title));
  return box;
}

function showCaption(caption) {
  const words = caption.split(/\s+/).filter(Boolean).map((text, index) => {
    const word = element("button", "word", text);
    word.type = "button";
    word.dataset.map = `word=${index}`;
    word.tabIndex = index ? -1 : 0;
    word.setAttribute("aria-pressed", "false");
    word.addEventListener("click", () => toggleMap(word, `"${text.replace(/[;:,.]$/, "")}"`));
    return word;
  });
  const box = at("caption");
  box.replaceChildren(...words.flatMap((word) => [word, document.createTextNode(" ")]));
  // One stop for the tab key; arrows go from word to word.
  box.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = words[words.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    for (const word of words) word.tabIndex = word === next ? 0 : -1;
    next.focus();
  };
}

function showFacts(result) {
  const spacing = result.pixel_spacing_mm ? `${result.pixel_spacing_mm} mm` : "not stated";
  const facts = {
    Image: `${result.name}, ${result.columns} x ${result.rows} pixels`,
    Pixel: spacing,
    Model: result.model.name,
    "Model's window": `${result.model.window_hu[0]} to ${result.model.window_hu[1]} HU`,
    "Weights sha256": result.model.weights_sha256,
  };
  at("facts").replaceChildren(...Object.entries(facts).flatMap(([name, text]) => [element("dt", "", name), element("dd", "", text)]));
}

function showExports() {
  const { result } = current;
  const [lower, upper] = shownWindow();
  const base = `/api/images/${result.image}/export`;
  at("export-html").href = `${base}.html?slice=${result.slice}&lower=${lower}&upper=${upper}`;
  at("export-json").href = `${base}.json?slice=${result.slice}`;
}

// The picture

function shownWindow() {
  const level = Number(at("level").value);
  const width = Number(at("width").value);
  return [level - width / 2, level + width / 2];
}

function draw() {
  const { result, pixels } = current;
  const canvas = at("canvas");
  canvas.width = result.columns;
  canvas.height = result.rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(result.columns, result.rows);
  const grey = new Uint32Array(picture.data.buffer);
  const [lower, upper] = shownWindow();
  for (let k = 0; k < pixels.length; k++) {
    const value = Math.max(0, Math.min(255, Math.round(((pixels[k] - lower) / (upper - lower)) * 255)));
    grey[k] = 0xff000000 | (value << 16) | (value << 8) | value;
  }
  context.putImageData(picture, 0, 0);
  if (overlay) {
    context.globalAlpha = Number(at("opacity").value) / 100;
    context.imageSmoothingQuality = "high";
    context.drawImage(overlay.heat, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
  }
  at("level-value").textContent = `${at("level").value} HU`;
  at("width-value").textContent = `${at("width").value} HU`;
  at("opacity-value").textContent = `${at("opacity").value} %`;
  at("slice-value").textContent = `${result.slice + 1} of ${result.slices}`;
  at("legend").textContent = overlay ? overlay.legend : "";
  at("overlay").hidden = !overlay;
  const told = overlay ? `, overlaid with ${overlay.legend}` : "";
  canvas.setAttribute("aria-label", `CT slice of ${result.name}, from ${lower} to ${upper} HU${told}`);
  for (const button of document.querySelectorAll("[data-map]")) {
    button.setAttribute("aria-pressed", String(Boolean(overlay) && button.dataset.map === overlay.key));
  }
  showExports();
}

async function toggleMap(button, name) {
  const key = button.dataset.map;
  const mine = ++turn;
  if (overlay && overlay.key === key) {
    overlay = null;
    draw();
    return;
  }
  showError(null);
  showStatus(`Looking up where the model looked for ${name} ...`);
  try {
    const { result } = current;
    const answer = await request(`/api/images/${result.image}/map?slice=${result.slice}&${key}`);
    const heat = await heatOf(await answer.blob());
    if (mine !== turn) return;
    overlay = { heat, key, legend: `Where the model looked for ${name} (Grad-CAM; brighter: mattered more)` };
    draw();
  } catch (error) {
    showError(error);
  } finally {
    if (mine === turn) showStatus("");
  }
}

async function heatOf(blob) {
  const map = await createImageBitmap(blob);
  const heat = new OffscreenCanvas(map.width, map.height);
  const context = heat.getContext("2d");
  context.drawImage(map, 0, 0);
  const picture = context.getImageData(0, 0, map.width, map.height);
  for (let k = 0; k < picture.data.length; k += 4) {
    const value = picture.data[k] / 255;
    picture.data.set([255, 90 + 150 * value, 20 + 60 * value, 255 * value ** 0.8], k);
  }
  context.putImageData(picture, 0, 0);
  return heat;
}

async function showSlice(index) {
  const opened = current;
  const mine = ++turn;
  showError(null);
  showStatus(`Assessing slice ${index + 1} ...`);
  try {
    const result = await (await request(`/api/images/${opened.result.image}?slice=${index}`)).json();
    const pixels = await loadPixels(result);
    if (mine !== turn) return;
    Object.assign(opened, { result, pixels });
    overlay = null;
    showResult();
    draw();
  } catch (error) {
    showError(error);
  } finally {
    if (mine === turn) showStatus("");
  }
}

// The dialogue

function say(opened, className, text) {
  const said = element("div", className, text);
  opened.log.push(said);
  if (opened === current) at("log").append(said);
  return said;
}

// From the question on: the start of a long answer is to be seen.
function scrollTo(question, said) {
  const log = at("log");
  log.scrollTop = question.offsetTop - log.offsetTop;
  if (said.getBoundingClientRect().bottom > innerHeight) said.scrollIntoView({ block: "nearest" });
}

async function ask(question) {
  const opened = current;
  const { result } = opened;
  if (result.slice !== opened.lastSlice) say(opened, "divider", `Slice ${result.slice + 1}`);
  opened.lastSlice = result.slice;
  const asked = say(opened, "said user", question);
  const said = say(opened, "said system waiting", "");
  scrollTo(asked, said);
  setBusy(true);
  try {
    const body = { image: result.image, slice: result.slice, question, previous: opened.questions.slice(-8) };
    const answer = await request("/api/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    opened.questions.push(question);
    await readEvents(answer.body, said);
  } catch (error) {
    said.classList.add("failed");
    said.textContent = error.message;
  } finally {
    said.classList.remove("waiting");
    setBusy(false);
    scrollTo(asked, said);
  }
}

async function readEvents(body, said) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const text = document.createTextNode("");
  said.append(text);
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    rest += value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = JSON.parse(event.slice(event.indexOf("\ndata: ") + 7));
      if (event.startsWith("event: text")) text.data += data.text;
      else finish(said, data);
    }
  }
}

function finish(said, data) {
  said.classList.add(data.source);
  if (data.mark) said.append(element("small", "", data.mark));
}

function setBusy(busy) {
  at("send").disabled = busy;
  at("log").setAttribute("aria-busy", String(busy));
  for (const button of at("requests").children) button.disabled = busy;
}

// Wiring

at("file").addEventListener("change", async () => {
  const files = [...at("file").files];
  at("file").value = "";
  await openFiles(files);
});
at("picture").addEventListener("submit", async (event) => {
  event.preventDefault();
  const window = [at("black").value, at("white").value];
  at("picture").hidden = true;
  showError(null);
  for (const file of waitingPictures.splice(0)) await openFile(file, window);
});
at("cancel").addEventListener("click", () => {
  waitingPictures = [];
  at("picture").hidden = true;
  at("file").focus();
});
at("pick").addEventListener("change", async () => {
  const index = at("pick").value;
  if (index === "") return;
  showError(null);
  await open(at("pick").selectedOptions[0].textContent, () => request(`/api/files/${index}`, { method: "POST" }));
});
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") openFiles([...event.dataTransfer.files]);
  });
}
for (const id of ["level", "width", "opacity"]) at(id).addEventListener("input", draw);
at("slice").addEventListener("input", () => {
  at("slice-value").textContent = `${Number(at("slice").value) + 1} of ${current.result.slices}`;
});
at("slice").addEventListener("change", () => showSlice(Number(at("slice").value)));
for (const button of document.querySelectorAll(".presets button")) {
  button.addEventListener("click", () => {
    at("level").value = button.dataset.level;
    at("width").value = button.dataset.width;
    draw();
  });
}
at("no-overlay").addEventListener("click", () => {
  overlay = null;
  turn++;
  draw();
});
for (const button of at("requests").children) button.addEventListener("click", () => ask(button.textContent));
at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const question = at("question").value.trim();
  if (!question || at("send").disabled) return;
  at("question").value = "";
  await ask(question);
});

async function start() {
  try {
    info = await (await request("/api/info")).json();
    const files = await (await request("/api/files")).json();
    at("pick").append(...files.map((file) => new Option(file.name, file.index)));
    at("offered").hidden = !files.length;
    at("where").textContent = info.language_model
      ? `Images stay on this machine; questions and scores go to ${info.language_model}.`
      : "Nothing leaves this machine.";
  } catch (error) {
    showError(error);
  }
}
start();
