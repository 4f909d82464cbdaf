/* Draws the book's figures and keeps them in step with the page's theme and width.
 *
 * Each <figure class="qb-figure"> carries its plotly figure as JSON and a static form in
 * <details open>. As a figure comes near the screen, the script closes its static form and draws the
 * interactive one. plotly, megabytes that keep a browser busy, is loaded for the first of them. Without plotly, WebGL (for surfaces) or this script, the static form
 * stays open.
 */
(() => {
  "use strict";

  const NARROW = 520; // px: below this a figure uses its settings for narrow screens
  const root = document.documentElement;
  const here = document.currentScript.src;
  const figures = new Map(); // the element that is drawn into -> its figure

  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  let loading; // of plotly, once a figure needs it

  function plotly() {
    if (window.Plotly) return Promise.resolve();
    return (loading ??= new Promise((done, fail) => {
      const script = document.createElement("script");
      const named = document.querySelector("script[type='text/later'][src*='plotly']");
      script.src = named?.src ?? new URL("plotly.min.js", here); // the former has its version
      script.onload = () => (window.Plotly ? done() : fail());
      script.onerror = fail;
      document.head.append(script);
    }));
  }

  /* Set a dotted path such as "xaxis.title.text" in nested objects. */
  function assign(object, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    for (const key of keys) object = object[key] ??= {};
    object[last] = value;
  }

  /* Replace, in nested objects, the strings that are keys of `by`: colours of the light template
     by those of the page's theme, its font by the page's. */
  function replace(value, by) {
    if (typeof value === "string") return by[value] ?? value;
    if (Array.isArray(value)) return value.map((item) => replace(item, by));
    if (value && typeof value === "object") {
      for (const key of Object.keys(value)) value[key] = replace(value[key], by);
    }
    return value;
  }

  /* The figure's layout for a width; without `themed`, as made: dark ink on white paper. */
  function layoutFor(figure, width, themed = true) {
    const layout = structuredClone(figure.spec.layout);
    if (width < NARROW) {
      for (const [path, value] of Object.entries(layout.meta?.narrow ?? {})) {
        assign(layout, path, structuredClone(value));
      }
    }
    delete layout.meta;
    for (const [path, value] of Object.entries(figure.menu?.settings?.[figure.choice] ?? {})) {
      assign(layout, path, structuredClone(value));
    }
    if (figure.menu) settleMenu(layout, figure, themed);
    if (themed) replace(layout, coloursFor(figure));
    const family = layout.template.layout.font.family;
    replace(layout, { [family]: getComputedStyle(figure.live).fontFamily });
    layout.width = width;
    layout.uirevision = "same"; // zoom, camera and hidden series survive a change of theme
    if (figure.zoom !== undefined) layout.xaxis.uirevision = figure.zoom;
    if (figure.flat && matchMedia("(pointer: coarse)").matches) layout.dragmode = false;
    return layout;
  }

  /* On the page the menu is a <select> and needs no room in the figure; a picture says the choice. */
  function settleMenu(layout, { menu, choice }, onPage) {
    if (onPage) {
      layout.height -= menu.room;
      layout.margin.t -= menu.room;
      if (layout.title?.pad) layout.title.pad.b -= menu.room;
      return;
    }
    const above = { x: 0, xref: "paper", xanchor: "left", y: 1, yref: "paper", yanchor: "bottom" };
    const text = `${menu.label}: ${menu.names[choice]}`;
    layout.annotations = [{ text, ...above, yshift: 8, showarrow: false }];
  }

  function coloursFor(figure) {
    const pairs = Object.entries(figure.spec.colours);
    return Object.fromEntries(pairs.map(([from, to]) => [from, variable(to)]));
  }

  /* The figure's traces, with a menu those of its choice. A line has the same `uid` in all choices:
     one that is hidden in the legend stays hidden. */
  function chosen({ spec, menu, choice }) {
    if (!menu) return spec.data;
    return spec.data
      .filter(({ meta }) => !meta || meta.choice === choice)
      .map((trace) => (trace.meta ? { ...trace, uid: trace.meta.line, visible: true } : trace));
  }

  /* The traces with numbers in cells as small as a phone needs them. */
  function sized(traces, width) {
    if (width >= NARROW) return traces;
    return traces.map((trace) =>
      trace.meta?.narrow_size
        ? { ...trace, textfont: { ...trace.textfont, size: trace.meta.narrow_size } }
        : trace,
    );
  }

  /* The traces in the page's theme: their colours suit both, except those in the ink's colour. */
  function dataFor(figure, width) {
    const colours = coloursFor(figure);
    return sized(chosen(figure), width).map((trace) => {
      const themed = { ...trace };
      for (const key of ["error_x", "error_y", "marker"]) {
        if (trace[key]) themed[key] = replace(structuredClone(trace[key]), colours);
      }
      return themed;
    });
  }

  function download(format) {
    return (plot) => {
      const figure = figures.get(plot);
      const layout = layoutFor(figure, plot.clientWidth, false);
      const name = figure.box.id;
      const { width, height } = layout;
      Plotly.downloadImage({ data: sized(chosen(figure), width), layout }, { format, width, height, filename: name });
    };
  }

  function buttons(figure) {
    const save = ["PNG", "SVG"].map((format) => ({
      name: `save${format}`,
      title: `Download as ${format}`,
      icon: format === "PNG" ? Plotly.Icons.camera : Plotly.Icons.disk,
      click: download(format.toLowerCase()),
    }));
    if (figure.kinds.has("surface")) return [save, ["resetCameraDefault3d"]];
    return figure.kinds.has("scatterpolar") ? [save] : [save, ["zoom2d", "resetScale2d"]];
  }

  async function draw(figure) {
    const width = Math.floor(figure.live.clientWidth);
    if (!width) return;
    figure.width = width;
    const layout = layoutFor(figure, width);
    figure.live.style.minHeight = `${layout.height}px`;
    try {
      // The same object each time: for another one plotly starts anew and forgets zoom and legend.
      figure.config ??= { displaylogo: false, scrollZoom: false, modeBarButtons: buttons(figure) };
      await Plotly.react(figure.live, dataFor(figure, width), layout, figure.config);
      figure.drawn = true;
      figure.box.classList.add("qb-drawn");
    } catch (problem) {
      console.error("qbench: a figure cannot be drawn, its static form is shown.", problem);
      fallBack(figure);
    }
  }

  function fallBack(figure) {
    figures.delete(figure.live);
    figure.live.hidden = true;
    figure.box.querySelector(".qb-menu")?.remove();
    figure.form?.setAttribute("open", "");
  }

  /* One redraw a frame, however many changes ask for it. */
  function redraw(figure) {
    if (!figure.drawn || figure.waiting) return;
    figure.waiting = requestAnimationFrame(() => {
      figure.waiting = 0;
      draw(figure);
    });
  }

  const hasWebGL = () => {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  };

  /* Put the figure's menu above it: a labelled <select>. */
  function addMenu(figure) {
    const { menu, live } = figure;
    const row = document.createElement("div");
    row.className = "qb-menu";
    const label = row.appendChild(document.createElement("label"));
    const select = row.appendChild(document.createElement("select"));
    select.id = label.htmlFor = `${figure.box.id}-menu`;
    select.setAttribute("aria-controls", live.id);
    label.textContent = `${menu.label}:`;
    select.append(...menu.names.map((name) => new Option(name)));
    select.selectedIndex = figure.choice;
    select.addEventListener("change", () => {
      figure.choice = select.selectedIndex;
      if (figure.menu.settings) figure.zoom = figure.choice; // axes of their own start anew
      redraw(figure);
    });
    live.before(row);
  }

  /* Hand a figure over from its static form to the interactive one. */
  function enhance(box) {
    const live = box.querySelector(".qb-live");
    if (figures.has(live)) return;
    if (!box.clientWidth) {
      nearby.observe(box); // folded away meanwhile
      return;
    }
    const spec = JSON.parse(box.querySelector("script.qbench-figure").textContent);
    if (spec.texts) /* each is there once: see bundle.py */
      for (const trace of spec.data)
        if (Array.isArray(trace.text)) trace.text = trace.text.map((place) => spec.texts[place]);
    const kinds = new Set(spec.data.map((trace) => trace.type));
    if (kinds.has("surface") && !hasWebGL()) return;
    const flat = !kinds.has("surface");
    const figure = { box, live, spec, kinds, flat, form: box.querySelector(".qb-static") };
    figure.menu = spec.layout.meta?.menu;
    figure.choice = figure.menu?.first;
    live.hidden = false;
    if (figure.menu) addMenu(figure);
    live.style.minHeight = `${layoutFor(figure, live.clientWidth).height}px`;
    figure.form?.removeAttribute("open");
    figures.set(live, figure);
    sizes.observe(live);
    draw(figure);
  }

  const nearby = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        nearby.unobserve(target);
        plotly().then(() => enhance(target), () => {}); // the browser itself says what is missing
      }
    },
    { rootMargin: "600px 0px" },
  );

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const figure = figures.get(target);
      const width = Math.floor(target.clientWidth);
      if (figure && width && width !== figure.width) redraw(figure);
    }
  });

  /* On paper the static forms stand in for the interactive ones. */
  function unfold() {
    for (const { form } of figures.values()) {
      if (form && !form.open) {
        form.open = true;
        form.dataset.unfolded = "";
      }
    }
  }

  function fold() {
    for (const form of document.querySelectorAll(".qb-static[data-unfolded]")) {
      form.open = false;
      delete form.dataset.unfolded;
    }
  }

  function start() {
    for (const block of document.querySelectorAll(".qb-figure .qb-live ~ script.qbench-figure")) {
      nearby.observe(block.parentElement);
    }
    new MutationObserver(() => figures.forEach(redraw)).observe(root, {
      attributeFilter: ["data-theme", "data-mode"],
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      figures.forEach(redraw);
    });
    addEventListener("beforeprint", unfold);
    addEventListener("afterprint", fold);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
