// The list of jobs, asked for again and again: often while something runs, seldom otherwise.

import { bytes, seconds } from "./format.js";

const BUSY_MS = 700;
const IDLE_MS = 4000;
const ACTIVE = new Set(["queued", "running", "verifying", "cancelling"]);
const $ = (id) => document.getElementById(id);
const MAY = new Set($("jobs").dataset.may.split(" "));
let timer = 0;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return body.detail || `the service answered ${response.status}`;
}

function progressCell(job) {
  const { done, total, unit } = job.progress;
  const cell = element("td", { class: "wide" });
  if (job.problem) {
    cell.append(element("span", { class: "problem" }, job.problem.detail));
    return cell;
  }
  const bar = element("progress", { class: job.state, max: Math.max(total, 1), "aria-label": "progress" });
  if (total || !ACTIVE.has(job.state)) bar.setAttribute("value", done);
  const tries = job.attempts > 1 ? ` · attempt ${job.attempts}` : "";
  const text = total ? `${done} of ${total} ${unit}${tries}` : job.state === "queued" ? "waiting" : "looking at the slide";
  cell.append(bar, element("span", { class: "detail" }, text));
  return cell;
}

function actionCell(job) {
  const cell = element("td", { class: "act" });
  if (job.package) {
    cell.append(element("a", { class: "button", href: job.package.links.viewer }, "View"));
  } else if (job.links.result) {
    cell.append(element("a", { class: "button", href: job.links.result }, "Download"));
  } else if (MAY.has("cancel") && ACTIVE.has(job.state) && job.state !== "cancelling") {
    cell.append(asking("Cancel", "DELETE", job.links.self));
  } else if (MAY.has("replay") && job.state === "failed") {
    cell.append(asking("Try again", "POST", `${job.links.self}/replay`));
  }
  return cell;
}

function asking(text, method, url) {
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    await fetch(url, { method });
    refresh();
  });
  return button;
}

function stateCell(job) {
  const cell = element("td", {}, element("span", { class: `chip ${job.state}` }, job.state));
  if (job.urgency !== "routine") cell.append(element("span", { class: "detail" }, job.urgency));
  return cell;
}

function profileCell({ kind, request }) {
  const cell = element("td", {}, request.profile ?? `${kind} ${request.format}`);
  const asked = [
    [request.dice_floor, (floor) => `floor ${floor}`],
    [request.lambda, (lambda) => `lambda ${lambda}`],
    [request.target_ratio, (ratio) => `${ratio} times smaller`],
    [request.protect, ({ outlines }) => `${outlines} protected`],
  ].filter(([value]) => value != null);
  if (asked.length) {
    const text = asked.map(([value, told]) => told(value)).join(" · ");
    cell.append(element("span", { class: "detail" }, text));
  }
  return cell;
}

function row(job) {
  const totals = job.package?.totals;
  const worst = totals?.fidelity.dice.min;
  const slide = element("a", { href: `/viewer/${job.slide}`, title: job.slide }, job.alias ?? `…${job.slide.slice(-10)}`);
  return element(
    "tr",
    { "data-job": job.id, "data-state": job.state },
    element("td", { class: "slide" }, slide),
    profileCell(job),
    stateCell(job),
    progressCell(job),
    element("td", { class: "num" }, totals ? bytes(totals.source_bytes) : ""),
    element("td", { class: "num" }, totals ? bytes(totals.package_bytes) : "",
      ...(totals ? [element("span", { class: "detail" }, `${(100 * totals.ratio_source).toFixed(1)} %`)] : [])),
    element("td", { class: "num" }, worst == null ? "" : worst.toFixed(3)),
    element("td", { class: "num" }, job.seconds ? seconds(job.seconds) : ""),
    actionCell(job),
  );
}

function summarise(jobs) {
  const done = jobs.filter((job) => job.package).map((job) => job.package.totals);
  const before = done.reduce((sum, totals) => sum + totals.source_bytes, 0);
  const after = done.reduce((sum, totals) => sum + totals.package_bytes, 0);
  $("sum-running").textContent = jobs.filter((job) => ACTIVE.has(job.state)).length;
  $("sum-done").textContent = done.length;
  $("sum-before").textContent = bytes(before);
  $("sum-after").textContent = bytes(after);
  $("sum-saved").textContent = before ? `${(100 * (1 - after / before)).toFixed(1)} %` : "–";
}

async function refresh() {
  clearTimeout(timer);
  let wait = IDLE_MS;
  try {
    const response = await fetch("/jobs?limit=100");
    if (!response.ok) throw new Error(await problemOf(response));
    const jobs = (await response.json()).items;
    $("jobs").replaceChildren(...jobs.map(row));
    $("empty").hidden = jobs.length > 0;
    summarise(jobs);
    if (jobs.some((job) => ACTIVE.has(job.state))) wait = BUSY_MS;
    $("live").className = "live on";
    $("live").textContent = "live";
  } catch {
    $("live").className = "live off";
    $("live").textContent = "the service does not answer";
  }
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

function send(file, onProgress) {
  const form = new FormData();
  form.append("file", file);
  return new Promise((resolve, reject) => {
    // fetch cannot report how much of a body has gone out.
    const request = new XMLHttpRequest();
    request.open("POST", "/slides");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / event.total));
    request.addEventListener("load", () =>
      request.status < 300
        ? resolve(request.response)
        : reject(new Error(request.response?.detail || `the service answered ${request.status}`)));
    request.addEventListener("error", () => reject(new Error("the service does not answer")));
    request.send(form);
  });
}

async function compression() {
  const wanted = { profile: $("profile").value };
  for (const [field, id] of [["dice_floor", "dice-floor"], ["lambda", "lambda"], ["target_ratio", "target-ratio"]]) {
    if ($(id).value) wanted[field] = $(id).valueAsNumber;
  }
  const regions = $("protect").files[0];
  if (regions) {
    wanted.protect = await regions.text().then(JSON.parse).catch(() => {
      throw new Error("the protected regions are no JSON");
    });
  }
  return wanted;
}

$("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  const bar = $("upload-progress");
  const button = event.target.querySelector("button");
  button.disabled = true;
  bar.hidden = false;
  $("upload-error").hidden = true;
  try {
    const wanted = await compression();
    const slide = await send($("file").files[0], (share) => { bar.value = share; });
    const response = await fetch(slide.links.compress, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wanted),
    });
    if (!response.ok) throw new Error(await problemOf(response));
    event.target.reset();
    named();
  } catch (error) {
    $("upload-error").textContent = error.message;
    $("upload-error").hidden = false;
  } finally {
    button.disabled = false;
    bar.hidden = true;
    refresh();
  }
});

function named() {
  const file = $("file").files[0];
  $("file-name").replaceChildren(...(file
    ? [element("b", {}, file.name), ` · ${bytes(file.size)}`]
    : [element("b", {}, "Choose a slide"), " or drop it here"]));
}

$("file").addEventListener("change", named);
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      $("file").files = event.dataTransfer.files;
      named();
    }
  });
}
document.addEventListener("visibilitychange", refresh);
refresh();
