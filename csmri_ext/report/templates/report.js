"use strict";
const byId = (id) => document.getElementById(id);

// The results table: a heading sorts the methods inside each setting; empty cells go last either way.
function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", (event) => {
      const button = event.currentTarget;
      const first = "descending" in button.dataset ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.ariaSort === first ? other : first;
      headings.forEach((each) => { each.ariaSort = each === heading ? order : "none"; });
      const sign = order === "ascending" ? 1 : -1;
      const compare = "text" in button.dataset
        ? (a, b) => sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent)
        : (a, b) => compareNumbers(a.cells[column].dataset.sort, b.cells[column].dataset.sort, sign);
      for (const body of table.tBodies) {
        const [title, ...rows] = body.rows;
        body.append(title, ...rows.sort(compare));
      }
    });
  });
}

function compareNumbers(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const [x, y] = [a, b].map((text) => Number(text.replace("inf", "Infinity")));
  return x === y ? 0 : sign * (x - y);
}

// The viewer. All images of the current slice lie in the stage as tiles, on top of each other or side by side; flipping
// changes which tile is visible, so nothing is loaded or moved. Zoom and pan are three CSS variables of the stage.
function startViewer(root, data) {
  const stage = byId("stage");
  const state = { panel: null, method: null, held: false, errors: false, zoom: 1, x: 0.5, y: 0.5, base: null };
  const methodButtons = [...byId("methods").children];

  const panelsOf = (setting, volume) => data.panels.filter((p) => p.setting === setting && p.volume === volume);
  const names = () => state.panel.methods.map((method) => method.name);
  const reference = () => (state.panel.reference === null ? state.base : "");
  const shown = () => (state.held ? reference() : state.method);

  function element(tag, properties = {}, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // Window and level are percentages of the stored grey scale: level shown mid-grey, window from black to white.
  function applyWindow() {
    const [window, level] = [byId("window"), byId("level")].map((slider) => Number(slider.value) / 100);
    const changed = window !== 1 || level !== 0.5;
    for (const transfer of document.querySelectorAll("#window-level feComponentTransfer > *")) {
      transfer.setAttribute("slope", 1 / window);
      transfer.setAttribute("intercept", 0.5 - level / window);
    }
    stage.classList.toggle("windowed", changed);
    byId("window-reset").disabled = !changed;
  }

  function image(index, className, alt) {
    return element("img", { className, alt, src: data.images[index], draggable: false });
  }

  function tile(name, label, pixels, method) {
    const scores = method ? method.scores.map((score) => score.text).join(" / ") : "";
    const figure = element("figure", { className: "tile" }, image(pixels, "image", label));
    const map = method && (state.panel.maps[state.base ?? ""] ?? {})[name];
    if (map !== undefined && map !== null) figure.append(image(map, "map", `${mapWords()} of ${label}`));
    figure.append(element("figcaption", {}, element("span", { textContent: label }, ...badge(name)), element("span", { textContent: scores })));
    if (method && method.notFinite) {
      const pixelWord = method.notFinite === 1 ? "pixel is" : "pixels are";
      figure.append(element("div", { className: "warning", textContent: `${method.notFinite} ${pixelWord} NaN or infinite` }));
    }
    figure.dataset.name = name;
    return figure;
  }

  // In a difference map the method that the others are compared with shows its image, and says so.
  const badge = (name) => (name && name === state.base
    ? [element("span", { className: "badge", textContent: " (the others are compared with this)" })] : []);
  const mapWords = () => (state.panel.reference === null ? `|difference to ${state.base}|` : "|error|");

  function showPanel(panel) {
    state.panel = panel;
    if (panel.reference !== null) state.base = null;
    else if (!names().includes(state.base)) state.base = panel.base;
    if (!names().includes(state.method)) state.method = names().find((name) => name !== state.base) ?? names()[0];
    const tiles = panel.methods.map((method) => tile(method.name, method.name, method.image, method));
    if (panel.reference !== null) tiles.unshift(tile("", "reference", panel.reference, null));
    stage.replaceChildren(...tiles);

    const slices = panelsOf(panel.setting, panel.volume);
    const slider = byId("slice");
    slider.max = slices.length - 1;
    slider.value = slices.indexOf(panel);
    byId("slice-picker").style.visibility = slices.length > 1 ? "visible" : "hidden";
    byId("slice-number").value = `${panel.slice} (${slices.indexOf(panel) + 1} of ${slices.length})`;
    slider.setAttribute("aria-valuetext", `slice ${panel.slice}`);
    byId("setting").value = panel.setting;
    byId("volume").value = panel.volume;
    for (const option of byId("volume").options) option.disabled = !panelsOf(panel.setting, Number(option.value)).length;

    const mask = byId("mask");
    mask.hidden = panel.mask === null;
    if (panel.mask !== null) mask.src = data.images[panel.mask];
    byId("mask-words").textContent = `Sampling mask: ${panel.maskWords}`;
    byId("mask-hash").textContent = panel.maskHash;

    const prospective = panel.reference === null;
    byId("error").textContent = prospective ? "Difference map" : "Error map";
    byId("hold").textContent = `Hold: ${prospective ? state.base : "reference"}`;
    byId("base-picker").hidden = !prospective;
    byId("base").replaceChildren(...names().map((name) => element("option", { textContent: name, selected: name === state.base })));
    byId("scale-words").textContent = `${mapWords()} × ${panel.factor}, one scale for all methods, in % of the white level of the images`;
    byId("scale-middle").textContent = `${(50 / panel.factor).toPrecision(3) / 1} %`;
    byId("scale-top").textContent = `≥ ${panel.top}`;
    methodButtons.forEach((button) => {
      const method = panel.methods.find((each) => each.name === button.dataset.method);
      button.disabled = !method;
      const scores = (method?.scores ?? []).map((score) => element(score.best ? "b" : "span", { textContent: score.text }));
      button.lastElementChild.replaceChildren(...scores.flatMap((node, i) => (i ? [" / ", node] : [node])));
    });
    update();
  }

  function update() {
    const current = shown();
    for (const figure of stage.children) figure.classList.toggle("current", figure.dataset.name === current);
    for (const button of methodButtons) button.ariaPressed = String(button.dataset.method === state.method);
    stage.classList.toggle("errors", state.errors);
    byId("error").ariaPressed = String(state.errors);
    const method = state.panel.methods.find((each) => each.name === current);
    const scores = (method?.scores ?? []).map((score) => `${score.label} ${score.text}`).join(", ");
    const slice = `${data.volumes[state.panel.volume]}, slice ${state.panel.slice}`;
    byId("readout").textContent = `${current || "reference"}: ${slice}${scores ? `: ${scores}` : ""}${state.errors && method ? `, ${mapWords()}` : ""}`;
    stage.ariaLabel = byId("readout").textContent;
    applyZoom();
  }

  function applyZoom() {
    const margin = 0.5 / state.zoom;
    state.x = Math.min(Math.max(state.x, margin), 1 - margin);
    state.y = Math.min(Math.max(state.y, margin), 1 - margin);
    stage.style.setProperty("--zoom", state.zoom);
    stage.style.setProperty("--shift-x", `${(0.5 - state.x) * 100}%`);
    stage.style.setProperty("--shift-y", `${(0.5 - state.y) * 100}%`);
    stage.classList.toggle("zoomed", state.zoom > 1);
    stage.classList.toggle("pixels", state.zoom >= 3);
    byId("zoom").value = `${Math.round(100 * state.zoom)} %`;
    byId("detail").ariaPressed = String(atDetail());
  }

  // Image point under the pointer, as fractions of the tile's box.
  function pointUnder(event) {
    const box = (event.target.closest(".tile") ?? stage).getBoundingClientRect();
    return {
      x: state.x + ((event.clientX - box.left) / box.width - 0.5) / state.zoom,
      y: state.y + ((event.clientY - box.top) / box.height - 0.5) / state.zoom,
    };
  }

  function zoomTo(zoom, keep = { x: state.x, y: state.y }) {
    const next = Math.min(Math.max(zoom, 1), 16);
    const ratio = state.zoom / next;
    state.x = keep.x + (state.x - keep.x) * ratio;
    state.y = keep.y + (state.y - keep.y) * ratio;
    state.zoom = next;
    applyZoom();
  }

  // The detail region is given in fractions of the image, which the tile's box may letterbox.
  function detailView() {
    const { width, height, detail } = state.panel;
    const relative = width / height / data.aspect;
    const [fillX, fillY] = relative < 1 ? [relative, 1] : [1, 1 / relative];
    const [left, top, w, h] = detail;
    return {
      zoom: Math.min(1 / (w * fillX), 1 / (h * fillY), 16),
      x: 0.5 + (left + w / 2 - 0.5) * fillX,
      y: 0.5 + (top + h / 2 - 0.5) * fillY,
    };
  }

  function atDetail() {
    const view = detailView();
    return ["zoom", "x", "y"].every((key) => Math.abs(view[key] - state[key]) < 1e-6);
  }

  function toggleDetail() {
    Object.assign(state, atDetail() ? { zoom: 1 } : detailView());
    applyZoom();
  }

  function flip(name) {
    if (!names().includes(name)) return;
    state.method = name;
    update();
  }

  function step(offset) {
    const all = names();
    flip(all[(all.indexOf(state.method) + offset + all.length) % all.length]);
  }

  function stepSlice(offset) {
    const slices = panelsOf(state.panel.setting, state.panel.volume);
    const next = slices[slices.indexOf(state.panel) + offset];
    if (next) showPanel(next);
  }

  const hasOneSlice = () => panelsOf(state.panel.setting, state.panel.volume).length < 2;

  // Another setting or volume: stay on the same volume and slice where they exist.
  function pick(setting, volume) {
    const inSetting = data.panels.filter((panel) => panel.setting === setting);
    const inVolume = inSetting.filter((panel) => panel.volume === volume);
    const candidates = inVolume.length ? inVolume : inSetting;
    showPanel(candidates.find((panel) => panel.slice === state.panel.slice) ?? candidates[0]);
  }

  function hold(held) {
    if (state.held === held) return;
    state.held = held;
    update();
  }

  function toggleErrors() {
    state.errors = !state.errors;
    update();
  }

  function toggleAll() {
    const on = root.classList.toggle("side-by-side");
    byId("all").ariaPressed = String(on);
  }

  byId("setting").addEventListener("change", (event) => pick(Number(event.target.value), state.panel.volume));
  byId("volume").addEventListener("change", (event) => pick(state.panel.setting, Number(event.target.value)));
  byId("slice").addEventListener("input", (event) => showPanel(panelsOf(state.panel.setting, state.panel.volume)[event.target.value]));
  byId("base").addEventListener("change", (event) => { state.base = event.target.value; showPanel(state.panel); });
  byId("methods").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) flip(button.dataset.method);
  });
  for (const id of ["window", "level"]) byId(id).addEventListener("input", applyWindow);
  byId("window-reset").addEventListener("click", () => {
    for (const id of ["window", "level"]) byId(id).value = byId(id).defaultValue;
    applyWindow();
  });
  byId("error").addEventListener("click", toggleErrors);
  byId("all").addEventListener("click", toggleAll);
  byId("detail").addEventListener("click", toggleDetail);
  byId("zoom-in").addEventListener("click", () => zoomTo(state.zoom * 1.5));
  byId("zoom-out").addEventListener("click", () => zoomTo(state.zoom / 1.5));

  const holdButton = byId("hold");
  holdButton.addEventListener("pointerdown", (event) => { holdButton.setPointerCapture(event.pointerId); hold(true); });
  for (const end of ["pointerup", "pointercancel", "blur"]) holdButton.addEventListener(end, () => hold(false));
  holdButton.addEventListener("contextmenu", (event) => event.preventDefault());
  holdButton.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") hold(true); });

  // Pan with one pointer, pinch with two.
  const pointers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    if (state.zoom > 1 || pointers.size > 1) stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const others = [...pointers.values()].filter((pointer) => pointer.pointerId !== event.pointerId);
    if (others.length) {
      const spread = (pointer) => Math.hypot(pointer.clientX - others[0].clientX, pointer.clientY - others[0].clientY);
      zoomTo(state.zoom * spread(event) / Math.max(spread(before), 1));
    } else if (state.zoom > 1) {
      const box = stage.firstElementChild.getBoundingClientRect();
      state.x -= (event.clientX - before.clientX) / box.width / state.zoom;
      state.y -= (event.clientY - before.clientY) / box.height / state.zoom;
      applyZoom();
    }
    pointers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(state.zoom * Math.exp(-event.deltaY / 300), pointUnder(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => (state.zoom > 1 ? zoomTo(1) : zoomTo(3, pointUnder(event))));
  stage.addEventListener("click", (event) => {
    const figure = event.target.closest(".tile");
    if (figure && root.classList.contains("side-by-side")) flip(figure.dataset.name);
  });

  // Keys work while the viewer has the focus or the pointer, and leave lists and sliders their own keys.
  const keys = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => stepSlice(-1), ArrowDown: () => stepSlice(1),
    e: toggleErrors, a: toggleAll, z: toggleDetail, r: () => hold(true),
    "+": () => zoomTo(state.zoom * 1.5), "=": () => zoomTo(state.zoom * 1.5), "-": () => zoomTo(state.zoom / 1.5), 0: () => zoomTo(1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
    const focused = root.contains(document.activeElement);
    if (!focused && !root.matches(":hover")) return;
    if (/^Arrow(Up|Down)$/.test(event.key) && (!focused || hasOneSlice())) return; // these scroll the page
    const action = /^[1-9]$/.test(event.key) ? () => flip(data.methods[event.key - 1]) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  document.addEventListener("keyup", (event) => { if (["r", "R", " ", "Enter"].includes(event.key)) hold(false); });
  window.addEventListener("blur", () => hold(false));

  showPanel(data.panels[0]);
  root.classList.add("ready"); // hidden until then, so that nothing moves before the reader's eyes
}

const table = byId("results");
if (table) makeSortable(table);
const viewer = byId("viewer");
if (viewer) startViewer(viewer, JSON.parse(byId("viewer-data").textContent));
