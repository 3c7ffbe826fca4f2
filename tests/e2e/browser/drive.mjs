// Drives the pages in headless Chromium and says on stdout, as JSON, what was drawn.
// node drive.mjs BASE_URL SLIDE_ID CHROMIUM SCREENSHOT_FOLDER

import { chromium } from "playwright-core";

const [base, slide, executablePath, folder] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const found = { complaints: [], foreign: [] };

async function open(path, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...options });
  page.setDefaultTimeout(30000);
  page.on("console", (message) => {
    if (message.type() === "error") found.complaints.push(`${path}: ${message.text()}`);
  });
  page.on("pageerror", (error) => found.complaints.push(`${path}: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:")) found.foreign.push(request.url());
  });
  await page.goto(base + path);
  return page;
}

const shot = (page, name) => page.screenshot({ path: `${folder}/${name}.png` });

async function drawn(page) {
  await page.waitForFunction(() => window.adaslide?.viewer.isOpen());
  await page.waitForFunction(() => window.adaslide.viewer.world.getItemAt(0).getFullyLoaded());
  await page.evaluate(() => new Promise((done) => setTimeout(done, 900)));
  // Of the canvas that the slide is drawn on: how many of its pixels are painted, and how they vary.
  return page.evaluate(() => {
    const canvas = window.adaslide.viewer.drawer.canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let painted = 0, sum = 0, squares = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (data[at + 3] === 0) continue;
      painted += 1;
      sum += data[at + 1];
      squares += data[at + 1] ** 2;
    }
    const mean = sum / painted;
    return { painted: painted / (data.length / 4), deviation: Math.sqrt(squares / painted - mean ** 2) };
  });
}

async function overlay(page, layer) {
  await page.locator(`input[value=${layer}] + span`).click();
  await page.waitForFunction(() => {
    const image = document.querySelector(".overlay img");
    return image?.complete && image.naturalWidth > 0;
  });
  await page.evaluate(() => new Promise((done) => setTimeout(done, 300)));
  return page.evaluate(() => {
    const box = document.querySelector(".overlay");
    const image = box.querySelector("img");
    const { viewer } = window.adaslide;
    const item = viewer.world.getItemAt(0);
    const size = item.getContentSize();
    const corner = viewer.viewport.imageToViewerElementCoordinates(size);
    const origin = viewer.viewport.imageToViewerElementCoordinates(size.times(0));
    const drawn = box.getBoundingClientRect();
    return {
      layer: box.dataset.layer,
      hidden: box.hidden,
      opacity: Number(getComputedStyle(box).opacity),
      patches: [image.naturalWidth, image.naturalHeight],
      misplaced: Math.max(
        Math.abs(drawn.width - (corner.x - origin.x)),
        Math.abs(drawn.height - (corner.y - origin.y)),
      ),
    };
  });
}

try {
  const page = await open(`/viewer/${slide}`);
  found.whole = await drawn(page);
  await shot(page, "viewer-restored");
  found.decision = await overlay(page, "decision");
  await shot(page, "viewer-decision");
  found.fidelity = await overlay(page, "fidelity");
  await shot(page, "viewer-fidelity");
  await page.locator("#metric").selectOption("dice_second");
  found.second = await overlay(page, "fidelity");
  await page.locator("input[value=restored] + span").click();
  await page.locator("#one").click();
  found.close = await drawn(page);
  const box = await page.locator("#osd").boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.locator("#patch-facts").waitFor();
  found.patch = {
    place: await page.locator("#patch-place").textContent(),
    rung: await page.locator("#patch-rung").textContent(),
    provenance: await page.locator("#patch-provenance").textContent(),
  };
  const shownFact = async (id) => {
    const fact = page.locator(id);
    return (await fact.isVisible()) ? fact.textContent() : null;
  };
  found.patch.restorer = await shownFact("#patch-restorer");
  found.patch.window = await shownFact("#patch-window");
  found.patch.second = await shownFact("#patch-second");
  found.patch.agent = await shownFact("#patch-agent");
  found.patch.search = await shownFact("#patch-search");
  found.made = await page.locator("#made dd").allTextContents();
  found.measures = await page.locator("#metric option").evaluateAll((all) => all.map((one) => one.value));
  found.note = (await page.locator(".note").textContent()).trim();
  await shot(page, "viewer-close");

  const dark = await open(`/viewer/${slide}`, { colorScheme: "dark" });
  await drawn(dark);
  await overlay(dark, "decision");
  await shot(dark, "viewer-dark");

  const phone = await open(`/viewer/${slide}`, { viewport: { width: 390, height: 844 } });
  await drawn(phone);
  await shot(phone, "viewer-phone");
  found.phoneOverflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  const admin = await open("/admin");
  await admin.locator("#jobs tr").first().waitFor();
  found.jobs = await admin.locator("#jobs tr").evaluateAll((rows) =>
    rows.map((row) => ({ id: row.dataset.job, state: row.dataset.state, text: row.textContent })));
  found.saved = await admin.locator("#sum-saved").textContent();
  await shot(admin, "admin");
  const adminDark = await open("/admin", { colorScheme: "dark" });
  await adminDark.locator("#jobs tr").first().waitFor();
  await shot(adminDark, "admin-dark");

  if (process.env.UPLOAD) {
    // As a person would: choose a file, press the button, watch the row until it is done.
    const before = await admin.locator("#jobs tr").count();
    await admin.locator("#file").setInputFiles(process.env.UPLOAD);
    await admin.locator("#profile").selectOption("exact");
    await admin.locator(".more summary").click();
    const regions = (text) => ({ name: "regions.geojson", mimeType: "application/geo+json", buffer: Buffer.from(text) });
    await admin.locator("#protect").setInputFiles(regions("{"));
    await admin.locator("#upload button").click();
    found.refused = await admin.locator("#upload-error:visible").textContent();
    await shot(admin, "admin-more");
    const outline = [[[0, 0], [600, 0], [600, 600], [0, 600], [0, 0]]];
    await admin.locator("#protect").setInputFiles(regions(JSON.stringify({ type: "Polygon", coordinates: outline })));
    await admin.locator("#upload button").click();
    await admin.waitForFunction((count) => document.querySelectorAll("#jobs tr").length > count, before);
    await admin.locator("#jobs tr:first-child[data-state=running], #jobs tr:first-child[data-state=succeeded]").waitFor();
    await shot(admin, "admin-running");
    await admin.locator("#jobs tr:first-child[data-state=succeeded]").waitFor({ timeout: 120000 });
    found.uploadedRow = await admin.locator("#jobs tr:first-child").textContent();
    await admin.locator("#jobs tr:first-child a.button").click();
    found.uploaded = await drawn(admin);
    found.uploadedMeasures = await admin.locator("#metric option").evaluateAll((all) => all.map((one) => one.value));
    found.uploadedNote = (await admin.locator(".note").textContent()).trim();
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
