"use strict";
// Sorting of tables, the window of the pictures, and a viewer with keys. Without it the page reads and prints as it is.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, text = "", properties = {}) =>
    Object.assign(document.createElement(name), { textContent: text, ...properties });
  const say = (text) => { document.getElementById("said").textContent = text; };

  // Tables: a button in every column's head. Once: ascending, twice: descending, three times: as it was.

  function value(row, column) {
    const cell = row.cells[column];
    const number = cell.dataset.sort;
    return number === undefined ? cell.textContent.trim() : Number(number);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b, "en", { numeric: true });
  }

  function sortBy(table, rows, column, direction) {
    const body = table.tBodies[0];
    const sorted = [...rows];
    if (direction !== "none") {
      const sign = direction === "ascending" ? 1 : -1;
      const numeric = rows.some((row) => typeof value(row, column) === "number");
      sorted.sort((first, second) => {
        const [a, b] = [value(first, column), value(second, column)];
        // What has no number comes last either way.
        if (numeric && typeof a !== typeof b) return compare(a, b);
        return sign * compare(a, b);
      });
    }
    body.append(...sorted);
  }

  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...table.tBodies[0].rows];
    heads.forEach((head, column) => {
      const title = head.textContent;
      const button = make("button", title, { type: "button" });
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", next);
        sortBy(table, rows, column, next);
        say(next === "none" ? "Original order" : `Sorted by ${title}, ${next}`);
      });
    });
  }

  // On paper nothing can be opened: the parameters are, for as long as it is printed.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details.params:not([open])");
    opened.forEach((block) => { block.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((block) => { block.open = false; }));

  // Pictures: 256 steps from `least` to `most` HU, shown through a table of grey values.

  const control = document.getElementById("window");
  if (!control) return;
  const least = Number(control.dataset.least);
  const most = Number(control.dataset.most);
  const [level, width] = ["level", "width"].map((name) => document.getElementById(name));
  const grey = new Uint32Array(256);
  const cards = all(".card").map((card) => ({
    card,
    slice: Number(card.dataset.slice),
    quality: Number(card.dataset.quality),
    button: card.querySelector(".picture"),
    image: card.querySelector("img"),
    near: false,
  }));
  const slices = Math.max(...cards.map((item) => item.slice)) + 1;

  function fillGrey() {
    const low = Number(level.value) - Number(width.value) / 2;
    for (let step = 0; step < 256; step += 1) {
      const hu = least + (step / 255) * (most - least);
      const shown = Math.round(255 * Math.min(1, Math.max(0, (hu - low) / Number(width.value))));
      grey[step] = 0xff000000 | (shown << 16) | (shown << 8) | shown;
    }
  }

  function load(item) {
    if (item.steps) return;
    const { naturalWidth, naturalHeight } = item.image;
    const canvas = make("canvas", "", { width: naturalWidth, height: naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(item.image, 0, 0);
    const pixels = context.getImageData(0, 0, naturalWidth, naturalHeight);
    item.steps = new Uint8Array(naturalWidth * naturalHeight);
    for (let place = 0; place < item.steps.length; place += 1) item.steps[place] = pixels.data[4 * place];
    item.canvas = canvas;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", item.image.alt);
    item.button.append(canvas);
    item.image.hidden = true;
  }

  function paint(item, canvas = item.canvas) {
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(canvas.width, canvas.height);
    const words = new Uint32Array(pixels.data.buffer);
    for (let place = 0; place < words.length; place += 1) words[place] = grey[item.steps[place]];
    context.putImageData(pixels, 0, 0);
  }

  async function show(item) {
    if (!item.steps) {
      await item.image.decode();
      load(item);
    }
    paint(item);
  }

  let waiting = false;
  function windowChanged() {
    document.getElementById("level-value").value = level.value;
    document.getElementById("width-value").value = width.value;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      fillGrey();
      for (const item of cards) if (item.near) show(item);
      if (viewer.open) paint(shown, large);
    });
  }
  [level, width].forEach((slider) => slider.addEventListener("input", windowChanged));
  for (const preset of all("button[data-level]", control)) {
    preset.addEventListener("click", () => {
      level.value = preset.dataset.level;
      width.value = preset.dataset.width;
      windowChanged();
      say(`Window: level ${level.value} HU, width ${width.value} HU`);
    });
  }

  const mark = document.getElementById("mark");
  if (mark) {
    mark.addEventListener("change", () => {
      document.body.classList.toggle("marked", mark.checked);
      say(mark.checked ? "Lesions have a ring" : "Lesions have no ring");
    });
  }

  // The viewer: one picture large. Left and right: another quality, up and down: another slice.

  const viewer = make("dialog");
  const title = make("h2", "", { id: "viewer-title" });
  const large = make("canvas");
  const probe = make("p", "", { className: "probe" });
  const side = make("div");
  const place = make("div");
  let shown = cards[0];
  const steps = [["\u2190 Quality", 0, -1], ["Quality \u2192", 0, 1], ["\u2191 Slice", -1, 0], ["Slice \u2193", 1, 0]];
  const bar = make("div", "", { className: "bar" });
  bar.append(title);
  for (const [text, down, right] of steps) {
    const button = make("button", text, { type: "button" });
    button.addEventListener("click", () => enlarge(beside(shown, down, right)));
    bar.append(button);
  }
  const close = make("button", "Close", { type: "button" });
  close.addEventListener("click", () => viewer.close());
  bar.append(close);
  const both = make("div", "", { className: "large" });
  const picture = make("div");
  const frame = make("div", "", { className: "frame" });
  large.setAttribute("role", "img");
  frame.append(large);
  picture.append(frame, probe);
  both.append(picture, side);
  viewer.append(bar, place, both);
  viewer.setAttribute("aria-labelledby", "viewer-title");
  document.body.append(viewer);
  const home = document.createComment("window");
  control.before(home);

  function beside(item, down, right) {
    const row = cards.filter((other) => other.slice === (item.slice + down + slices) % slices);
    return row[(item.quality + right + row.length) % row.length] || item;
  }

  async function enlarge(item) {
    await show(item);
    shown = item;
    title.textContent = item.card.dataset.title;
    large.width = item.canvas.width;
    large.height = item.canvas.height;
    large.setAttribute("aria-label", item.image.alt);
    paint(item, large);
    const ring = item.card.querySelector(".ring");
    frame.replaceChildren(large, ...(ring ? [ring.cloneNode(true)] : []));
    probe.textContent = "Point at the picture for its HU. Keys: arrows, Escape.";
    side.replaceChildren(item.card.querySelector(".scores").cloneNode(true), item.card.querySelector("details").cloneNode(true));
    side.lastChild.open = true;
    if (!viewer.open) {
      place.append(control);
      viewer.showModal();
      large.scrollIntoView({ block: "nearest" });
    }
    say(item.image.alt);
  }

  large.addEventListener("pointermove", (event) => {
    const box = large.getBoundingClientRect();
    const scale = Math.min(box.width / large.width, box.height / large.height);
    const x = Math.floor((event.clientX - box.left - (box.width - large.width * scale) / 2) / scale);
    const y = Math.floor((event.clientY - box.top - (box.height - large.height * scale) / 2) / scale);
    if (x < 0 || y < 0 || x >= large.width || y >= large.height) return;
    const step = shown.steps[y * large.width + x];
    const sign = step === 0 ? "at most " : step === 255 ? "at least " : "";
    const error = (most - least) / 255 / 2;
    const hu = Math.round(least + (step / 255) * (most - least));
    probe.textContent = `${sign}${hu} HU${sign ? "" : ` \u00b1 ${error.toFixed(1)}`}`;
  });

  viewer.addEventListener("close", () => {
    home.after(control);
    shown.button.focus();
    shown.button.scrollIntoView({ block: "nearest" });
  });

  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  viewer.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.target.type === "range" || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    enlarge(beside(shown, ...move));
  });

  for (const item of cards) {
    item.button.addEventListener("click", () => enlarge(item));
    item.button.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const next = beside(item, ...move).button;
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    });
  }

  // Only pictures near the screen are drawn; before printing all of them are.
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const item = cards.find((other) => other.button === entry.target);
      item.near = entry.isIntersecting;
      if (item.near) show(item);
    }
  }, { rootMargin: "600px" });
  for (const item of cards) watcher.observe(item.button);
  addEventListener("beforeprint", () => {
    for (const item of cards) {
      if (item.image.complete && item.image.naturalWidth) {
        load(item);
        paint(item);
      }
    }
  });

  fillGrey();
  control.hidden = false;
})();
