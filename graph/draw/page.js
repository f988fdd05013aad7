"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const stage = document.getElementById("stage");
  const details = document.getElementById("details");
  const trail = document.getElementById("trail");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const pages = [...document.querySelectorAll(".page")];
  const byName = new Map(data.nodes.map((node) => [node.name, node]));
  const pageOf = new Map(data.pages.map((path, i) => [path, i]));
  const views = new Map();
  let current = 0;

  // -- the picture: a view is the visible part of it, in its own coordinates

  const svgOf = (page) => pages[page].querySelector("svg");

  function whole(page) {
    const svg = svgOf(page);
    return { x: 0, y: 0, w: svg.width.baseVal.value || 1, h: svg.height.baseVal.value || 1 };
  }

  // The natural size of each picture, before its width and height are taken away for the stage to rule.
  const sizes = pages.map((_, i) => whole(i));
  pages.forEach((_, i) => { svgOf(i).removeAttribute("width"); svgOf(i).removeAttribute("height"); });

  function look(view) {
    views.set(current, view);
    svgOf(current).setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  }

  function fit() {
    const size = sizes[current], w = stage.clientWidth, h = stage.clientHeight;
    if (size.h * w > 3 * size.w * h) {  // a tall picture starts at its top, in readable size
      const width = Math.max(size.w, w);
      look({ x: (size.w - width) / 2, y: 0, w: width, h: width * h / w });
    } else look(size);
  }

  function at(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(svgOf(current).getScreenCTM().inverse());
  }

  function zoom(event, factor) {
    const view = views.get(current), p = at(event), size = sizes[current];
    const w = Math.min(Math.max(view.w * factor, 40), 20 * size.w + 4000), f = w / view.w;
    look({ x: p.x - (p.x - view.x) * f, y: p.y - (p.y - view.y) * f, w, h: view.h * f });
  }

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event, Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 60) / 300));
  }, { passive: false });

  let grip = null, moved = false;
  stage.addEventListener("pointerdown", (event) => { grip = at(event); moved = false; });
  stage.addEventListener("pointermove", (event) => {
    if (!grip || !event.buttons) return;
    const p = at(event), view = views.get(current);
    if (!moved && Math.hypot(event.movementX, event.movementY) < 2) return;
    if (!moved) { moved = true; stage.setPointerCapture(event.pointerId); stage.classList.add("moving"); }
    look({ ...view, x: view.x + grip.x - p.x, y: view.y + grip.y - p.y });
  });
  stage.addEventListener("pointerup", () => { grip = null; stage.classList.remove("moving"); });

  // -- pages

  function show(page) {
    pages[current].hidden = true;
    current = page;
    pages[current].hidden = false;
    if (views.has(current)) look(views.get(current)); else fit();
    trail.replaceChildren();
    const path = data.pages[current];
    const link = (text, target) => {
      const button = document.createElement("button");
      button.textContent = text;
      button.addEventListener("click", () => show(target));
      trail.append(button);
    };
    if (!path) return;
    link("all", 0);
    const parts = path.split("/");
    for (let i = 1; i <= parts.length; i++) {
      const inner = pageOf.get(parts.slice(0, i).join("/"));
      trail.append(" / ");
      if (inner === undefined) trail.append(parts[i - 1]); else link(parts[i - 1], inner);
    }
  }

  function boxOf(key) {
    return [...pages[current].querySelectorAll(".box")].find((box) => box.dataset.key === key);
  }

  function mark(box) {
    document.querySelectorAll(".box.on").forEach((other) => other.classList.remove("on"));
    if (box) box.classList.add("on");
  }

  function go(name) {
    const node = byName.get(name);
    if (!node) return;
    show(node.page);
    const box = boxOf(node.key);
    mark(box);
    tell(node);
    if (!box) return;
    const b = box.getBBox(), g = box.getCTM(), base = svgOf(current).getCTM().inverse().multiply(g);
    const p = new DOMPoint(b.x + b.width / 2, b.y + b.height / 2).matrixTransform(base);
    const w = Math.min(sizes[current].w, 900), h = w * stage.clientHeight / stage.clientWidth;
    look({ x: p.x - w / 2, y: p.y - h / 2, w, h });
  }

  // -- details: text nodes only, names are never markup

  function add(tag, text, parent = details) {
    const element = document.createElement(tag);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  function names(title, list) {
    if (!list.length) return;
    add("h3", title);
    for (const [name, note] of list) {
      const line = add("p", "");
      const owner = byName.has(name) ? name : name.replace(/:\d+$/, "");
      const link = add(byName.has(owner) ? "a" : "span", name, line);
      if (byName.has(owner)) link.addEventListener("click", () => go(owner));
      if (note) add("code", "  " + note, line);
    }
  }

  function tell(node) {
    details.replaceChildren();
    add("h2", node.op);
    add("p", node.name);
    if (node.cost) add("code", node.cost, add("p", ""));
    for (const value of node.values || []) add("code", "= " + value, add("p", ""));
    names("Inputs", node.in);
    if (node.out.length) add("h3", "Outputs");
    node.out.forEach((type, i) => add("code", `:${i}  ${type}`, add("p", "")));
    names("Runs after", node.after.map((name) => [name, ""]));
    names("Read by", node.readers.map((name) => [name, ""]));
    const attrs = Object.entries(node.attrs);
    if (attrs.length) add("h3", "Attributes");
    for (const [name, value] of attrs) add("code", `${name}: ${value}`, add("p", ""));
  }

  function tellScope(path) {
    details.replaceChildren();
    add("h2", "scope");
    add("p", path);
    if (!pageOf.has(path)) return;
    const link = add("a", "Open it", add("p", ""));
    link.addEventListener("click", () => show(pageOf.get(path)));
    names("Operations", data.nodes.filter((n) => n.name.startsWith(path + "/")).slice(0, 60).map((n) => [n.name, n.op]));
  }

  stage.addEventListener("click", (event) => {
    const box = event.target.closest(".box");
    if (moved || !box) return;
    mark(box);
    const key = box.dataset.key;
    if (box.classList.contains("scope")) tellScope(key.slice(0, -1));
    else if (byName.has(key)) tell(byName.get(key));
  });
  stage.addEventListener("dblclick", (event) => {
    const box = event.target.closest(".box");
    if (!box) return;
    const key = box.dataset.key;
    if (box.classList.contains("scope") && pageOf.has(key.slice(0, -1))) show(pageOf.get(key.slice(0, -1)));
    else if (box.classList.contains("outside")) go(key);
  });

  // -- search

  let hits = [], chosen = 0;
  function list() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = words.length
      ? data.nodes.filter((n) => words.every((w) => (n.name + " " + n.op).toLowerCase().includes(w))).slice(0, 40) : [];
    chosen = 0;
    found.replaceChildren();
    found.hidden = !hits.length;
    hits.forEach((node, i) => {
      const item = add("li", node.name, found);
      add("small", node.op, item);
      item.classList.toggle("on", i === chosen);
      item.addEventListener("click", () => take(i));
    });
  }
  function take(i) {
    if (!hits[i]) return;
    found.hidden = true;
    search.blur();
    go(hits[i].name);
  }
  search.addEventListener("input", list);
  search.addEventListener("focus", list);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") take(chosen);
    if (event.key === "Escape") { found.hidden = true; search.blur(); }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    chosen = Math.max(0, Math.min(hits.length - 1, chosen + (event.key === "ArrowDown" ? 1 : -1)));
    [...found.children].forEach((item, i) => item.classList.toggle("on", i === chosen));
    if (found.children[chosen]) found.children[chosen].scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  });
  document.getElementById("fit").addEventListener("click", fit);

  show(0);
})();
