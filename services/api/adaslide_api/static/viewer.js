// The slide, its maps laid over it, and what is known of the patch under the pointer.

import { bytes } from "./format.js";

const POINTER_MS = 90;
const SCALE_PX = 130;
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
let token = data.token;
const query = () => `?package=${data.package}${token ? `&token=${token}` : ""}`;
const { OpenSeadragon } = window;

const viewer = OpenSeadragon({
  element: $("osd"),
  tileSources: `${data.slide}.dzi${query()}`,
  drawer: "canvas",
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: "TOP_RIGHT",
  navigatorSizeRatio: 0.16,
  navigatorBackground: "var(--surface)",
  navigatorBorderColor: "var(--line)",
  navigatorDisplayRegionColor: "#2457c5",
  navigatorOpacity: 1,
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.4,
  animationTime: 0.5,
  imageSmoothingEnabled: true,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
});
window.adaslide = { viewer };

// One overlay as large as the slide; the map in it may reach beyond and is cut there.
const overlay = document.createElement("div");
overlay.className = "overlay";
const picture = document.createElement("img");
picture.alt = "";
picture.style.width = `${(100 * data.cols * data.patch) / data.width}%`;
picture.style.height = `${(100 * data.rows * data.patch) / data.height}%`;
overlay.append(picture);
const outline = document.createElement("div");
outline.className = "outline";

viewer.addHandler("open", () => {
  viewer.addOverlay({ element: overlay, location: new OpenSeadragon.Rect(0, 0, 1, data.height / data.width) });
  show();
});
viewer.addHandler("open-failed", () => { $("patch-hint").textContent = "The slide cannot be opened."; });

// Images carry no credential but the token in their URL, which ends; the page's own request gets another.
async function renew() {
  const response = await fetch(`${data.slide}/tile-token?package=${data.package}`, { method: "POST" });
  if (!response.ok) return;
  token = (await response.json()).token;
  const source = viewer.world.getItemAt(0)?.source;
  if (source) source.queryParams = query();
}
if (data.renew_s) setInterval(renew, 1000 * data.renew_s);

// A tile of the last level is a patch. Smaller levels show what was stored: nothing in them is restored.
const restored = Uint8Array.from(atob(data.restored), (char) => char.charCodeAt(0));

function isRestored(row, col) {
  const place = row * data.cols + col;
  return (restored[place >> 3] >> (7 - (place & 7))) & 1;
}

viewer.addHandler("tiled-image-drawn", ({ tiledImage, tiles }) => {
  const full = tiledImage.source.maxLevel;
  const shown = tiles.some((drawn) => {
    const tile = drawn.tile ?? drawn;
    return tile.level === full && isRestored(tile.y, tile.x);
  });
  $("restored-badge").hidden = !shown;
});

function layer() {
  const chosen = document.querySelector("input[name=layer]:checked").value;
  if (chosen === "decision") return $("decision-map")?.value ?? "rung";
  return chosen === "fidelity" ? $("metric").value : null;
}

function ramp(stops) {
  return stops.map(([label, colour]) => {
    const stop = document.createElement("span");
    const block = document.createElement("i");
    block.style.background = colour;
    stop.append(block, label);
    return stop;
  });
}

function show() {
  const name = layer();
  const chosen = document.querySelector("input[name=layer]:checked").value;
  const scaled = name in data.legends;
  $("overlay-controls").hidden = name === null;
  $("metric-field").hidden = chosen !== "fidelity";
  if ($("decision-field")) $("decision-field").hidden = chosen !== "decision";
  if ($("agent-note")) $("agent-note").hidden = name !== "p_compress";
  $("scale-legend").hidden = !scaled;
  if (scaled) $("scale-legend").replaceChildren(...ramp(data.legends[name]));
  overlay.hidden = name === null;
  overlay.style.opacity = $("opacity").value;
  overlay.dataset.layer = name ?? "";
  if (name !== null) picture.src = `${data.slide}/maps/${name}.png${query()}&scale=1`;
}

for (const id of ["layers", "metric", "decision-map", "opacity"]) $(id)?.addEventListener("input", show);
for (const swatch of document.querySelectorAll(".swatch")) swatch.style.background = swatch.dataset.colour;
$("package")?.addEventListener("change", (event) => {
  const search = new URLSearchParams(location.search);
  search.set("package", event.target.value);
  location.search = search;
});
$("zoom-in").addEventListener("click", () => viewer.viewport.zoomBy(1.6));
$("zoom-out").addEventListener("click", () => viewer.viewport.zoomBy(1 / 1.6));
$("home").addEventListener("click", () => viewer.viewport.goHome());
$("one").addEventListener("click", () => viewer.viewport.zoomTo(viewer.viewport.imageToViewportZoom(1)));

function drawScale() {
  const zoom = viewer.viewport.viewportToImageZoom(viewer.viewport.getZoom(true));
  const perPixel = data.mpp / zoom;
  const most = perPixel * SCALE_PX;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  $("scale-bar").style.width = `${length / perPixel}px`;
  $("scale-text").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
}
viewer.addHandler("update-viewport", drawScale);

const known = new Map();
let asked = "";
let pause = 0;

async function facts(row, col) {
  const key = `${row}/${col}`;
  if (!known.has(key)) {
    const response = await fetch(`${data.slide}/patches/${key}${query()}`);
    if (!response.ok) return null;
    known.set(key, await response.json());
  }
  return known.get(key);
}

// A row that says nothing of this patch is not shown.
function tell(id, text) {
  $(id).textContent = text ?? "";
  $(id).hidden = text === null;
  $(id).previousElementSibling.hidden = text === null;
}

function searched(patch) {
  if (!patch.flags.length) return null;
  const count = patch.measurements;
  return [...patch.flags, ...(count ? [`${count} tried`] : [])].join(", ");
}

// A pin may be broken in two behind its @, and nowhere else.
function pinned(name) {
  const parts = name.split(/(?<=@)/).map((text) => {
    const part = document.createElement("span");
    part.textContent = text;
    return part;
  });
  return parts.flatMap((part, place) => (place ? [document.createElement("wbr"), part] : [part]));
}

const number = (value, digits) => (value === null ? "not measured" : value.toFixed(digits));

async function describe(row, col) {
  const patch = await facts(row, col);
  if (!patch || asked !== `${row}/${col}`) return;
  $("patch-hint").hidden = true;
  $("patch-facts").hidden = false;
  $("patch-place").textContent = `row ${row}, column ${col}`;
  $("patch-rung").textContent = patch.rung;
  $("patch-provenance").textContent = patch.provenance;
  $("patch-bytes").textContent = patch.source_bytes
    ? `${bytes(patch.source_bytes)} → ${bytes(patch.bytes)}`
    : bytes(patch.bytes);
  $("patch-dice").textContent = number(patch.quality.dice, 3);
  $("patch-window").textContent = number(patch.quality.dice_window_min, 3);
  $("patch-ssim").textContent = number(patch.quality.ssim, 3);
  tell("patch-colour", patch.quality.colour_min === null ? null : number(patch.quality.colour_min, 3));
  tell("patch-restorer", patch.restorer);
  if (patch.restorer) $("patch-restorer").replaceChildren(...pinned(patch.restorer));
  tell("patch-second", data.second_judge ? number(patch.quality.dice_second, 3) : null);
  tell("patch-agent", patch.p_compress === null ? null : `p ${patch.p_compress.toFixed(2)}`);
  tell("patch-search", searched(patch));
}

function mark(row, col) {
  const x = col * data.patch;
  const y = row * data.patch;
  const place = new OpenSeadragon.Rect(
    x / data.width,
    y / data.width,
    Math.min(data.patch, data.width - x) / data.width,
    Math.min(data.patch, data.height - y) / data.width,
  );
  if (viewer.getOverlayById(outline)) viewer.updateOverlay(outline, place);
  else viewer.addOverlay({ element: outline, location: place });
}

$("osd").addEventListener("pointermove", (event) => {
  if (!viewer.isOpen() || event.buttons) return;
  const box = $("osd").getBoundingClientRect();
  const at = viewer.viewport.viewerElementToImageCoordinates(
    new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top),
  );
  if (at.x < 0 || at.y < 0 || at.x >= data.width || at.y >= data.height) return;
  const row = Math.floor(at.y / data.patch);
  const col = Math.floor(at.x / data.patch);
  if (asked === `${row}/${col}`) return;
  asked = `${row}/${col}`;
  mark(row, col);
  clearTimeout(pause);
  pause = setTimeout(describe, POINTER_MS, row, col);
});
$("osd").addEventListener("pointerleave", () => {
  asked = "";
  viewer.removeOverlay(outline);
});
