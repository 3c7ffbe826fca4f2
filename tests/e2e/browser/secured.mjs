// The viewer of a service that asks for credentials: only the page's own requests carry one, as behind a
// proxy that signs people in; images have nothing but their URL. Says on stdout, as JSON, what was seen.
// node secured.mjs BASE_URL SLIDE_ID PACKAGE_ID API_KEY CHROMIUM

import { chromium } from "playwright-core";

const [base, slide, packageId, key, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--headless", "--no-sandbox", "--disable-gpu"] });
const found = { complaints: [], images: { withToken: 0, refused: 0 }, renewed: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.clock.install();
  page.on("console", (message) => {
    if (message.type() === "error") found.complaints.push(message.text());
  });
  page.on("pageerror", (error) => found.complaints.push(error.message));
  await page.route("**/*", async (route) => {
    const request = route.request();
    const own = request.isNavigationRequest() || request.method() === "POST";
    await route.continue({ headers: { ...request.headers(), ...(own ? { "x-api-key": key } : {}) } });
  });
  page.on("response", (response) => {
    const url = new URL(response.url());
    if (response.request().method() === "POST") found.renewed.push(response.status());
    if (!/_files|\.dzi|\/maps\/|\/patches\//.test(url.pathname)) return;
    if (url.searchParams.has("token")) found.images.withToken += 1;
    if (response.status() >= 400) found.images.refused += 1;
  });
  await page.goto(`${base}/viewer/${slide}?package=${packageId}`);
  const badge = async (zoom) => {
    await page.waitForFunction(() => window.adaslide?.viewer.isOpen());
    await page.evaluate((wanted) => {
      const { viewport } = window.adaslide.viewer;
      viewport.zoomTo(viewport.imageToViewportZoom(wanted), null, true);
    }, zoom);
    await page.clock.runFor(3000);
    await page.waitForFunction(() => window.adaslide.viewer.world.getItemAt(0).getFullyLoaded());
    await page.clock.runFor(3000);
    return page.locator("#restored-badge").isVisible();
  };
  found.close = await badge(1);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  found.far = await badge(0.1);
  await page.clock.runFor(400_000);
  await page.waitForTimeout(500);
  found.again = await badge(2);
} finally {
  await browser.close();
}
console.log(JSON.stringify(found));
