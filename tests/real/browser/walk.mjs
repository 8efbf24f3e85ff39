// Walks through pages in Chromium as a person does, and says in JSON what was seen.
//
//   node walk.mjs <walk.json
//
// A walk: {"chromium": PATH, "folder": DIR, "resolve": {NAME: ADDRESS}, "javaScript": BOOL, "steps": [STEP...]}. Beside the
// browser listens, on 127.0.0.1, what a command line listens with for its one-time code; {port} in a step is its port.
// The steps:
//
//   {"do": "open", "url": URL}                      opens a page
//   {"do": "sign-in", "name": N, "password": P}     fills in the provider's form
//   {"do": "type", "into": NAME, "text": T}         fills in the input of that name
//   {"do": "see", "as": NAME, "shown": FILE}        notes what the page says, with a picture; {port} is 45678 in it. Says
//                                                   which share of its pixels differs from the picture in FILE
//   {"do": "press", "button": TEXT}                 presses a button that leads to another page
//   {"do": "called-back"}                           waits for the one-time code
//   {"do": "reload-until", "text": T, "seconds": S} opens the page again and again until it says so
//   {"do": "lure", "html": HTML}                    opens a page of somebody else's, which the listener serves

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

const PATIENCE = 60_000;
const SIZE = { width: 800, height: 600 };

const walk = JSON.parse(readFileSync(0, 'utf8'));
const seen = [];
const calls = [];
let lure = '';
let called;
const firstCall = new Promise((resolve) => { called = resolve; });

const listener = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  response.setHeader('content-type', 'text/html; charset=utf-8');
  if (url.pathname === '/lure') {
    response.end(lure);
  } else if (url.pathname === '/callback') {
    calls.push({ method: request.method, query: Object.fromEntries(url.searchParams), referer: request.headers.referer });
    response.end('<!doctype html><title>Done</title><p>You may close this page.');
    called();
  } else {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
const port = String(listener.address().port);
const filled = (text) => text.replaceAll('{port}', port);

const rules = Object.entries(walk.resolve).map(([name, address]) => `MAP ${name} ${address}`).join(',');
const context = await chromium.launchPersistentContext(join(walk.folder, 'profile'), {
  executablePath: walk.chromium,
  args: ['--no-sandbox', `--host-resolver-rules=${rules}`, '--disable-gpu', '--hide-scrollbars'],
  env: { ...process.env, HOME: walk.folder },
  javaScriptEnabled: walk.javaScript ?? true,
  viewport: SIZE,
});
context.setDefaultTimeout(PATIENCE);
const page = context.pages()[0] ?? (await context.newPage());
const complaints = [];
page.on('console', (message) => complaints.push(message.text()));
let last;
page.on('response', (response) => {
  if (response.request().isNavigationRequest() && response.frame() === page.mainFrame()) last = response;
});

/** The page's picture, the same whatever port was drawn. */
async function picture() {
  await page.evaluate((drawn) => {
    const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(drawn, '45678');
  }, port);
  return page.screenshot({ animations: 'disabled' });
}

/** Which share of the pixels differs by more than what another version of a font's renderer makes of it. */
async function difference(picture, file) {
  if (!file) return undefined;
  if (!existsSync(file)) return 1;
  // a page of its own, where scripts may run whatever the walk is about
  const browser = await chromium.launch({ executablePath: walk.chromium, args: ['--no-sandbox'] });
  try {
    const bench = await browser.newPage();
    return await bench.evaluate(async (pictures) => {
      const pixels = await Promise.all(pictures.map(async (base64) => {
        const image = new Image();
        image.src = `data:image/png;base64,${base64}`;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height);
        const drawing = canvas.getContext('2d');
        drawing.drawImage(image, 0, 0);
        return drawing.getImageData(0, 0, image.width, image.height).data;
      }));
      if (pixels[0].length !== pixels[1].length) return 1;
      let different = 0;
      for (let at = 0; at < pixels[0].length; at += 4) {
        const far = [0, 1, 2].some((band) => Math.abs(pixels[0][at + band] - pixels[1][at + band]) > 64);
        different += far ? 1 : 0;
      }
      return different / (pixels[0].length / 4);
    }, [picture.toString('base64'), readFileSync(file).toString('base64')]);
  } finally {
    await browser.close();
  }
}

/** Goes there, again where the network changed meanwhile: the pods of other tests come and go on this machine. */
async function go(url) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await page.goto(url);
    } catch (error) {
      if (tries === 10 || !/ERR_NETWORK_CHANGED|chrome-error:/.test(String(error))) throw error;
    }
  }
}

const STEPS = {
  open: ({ url }) => go(filled(url)),
  'sign-in': async ({ name, password }) => {
    await page.locator('input[name=username]').fill(name);
    await page.locator('input[name=password]').fill(password);
    const before = page.url();
    await page.locator('input[name=password]').press('Enter');
    await page.waitForURL((url) => url.href !== before);
  },
  type: ({ into, text }) => page.locator(`input[name=${into}]`).fill(text),
  see: async ({ as, shown }) => {
    await page.waitForLoadState();
    const text = await page.locator('body').innerText();
    const buttons = await page.getByRole('button').allInnerTexts();
    const title = await page.title();
    const frames = await Promise.all(page.frames().slice(1).map((frame) => frame.locator('body').innerText().catch(() => '')));
    const file = join(walk.folder, `${as}.png`);
    const shot = await picture();
    writeFileSync(file, shot);
    seen.push({
      as, title, text, buttons, frames, file,
      url: page.url(),
      status: last?.status(),
      headers: await last?.allHeaders(),
      difference: await difference(shot, shown),
    });
  },
  press: async ({ button }) => {
    await Promise.all([
      page.waitForEvent('framenavigated', (frame) => frame === page.mainFrame()),
      page.getByRole('button', { name: button }).click({ noWaitAfter: true }),
    ]);
  },
  'called-back': async () => {
    await Promise.race([
      firstCall,
      new Promise((_resolve, reject) => { setTimeout(() => reject(new Error('nobody called back')), PATIENCE).unref(); }),
    ]);
    await page.waitForLoadState();
  },
  'reload-until': async ({ text, seconds }) => {
    const end = Date.now() + seconds * 1000;
    while (!(await page.locator('body').innerText()).includes(text)) {
      if (Date.now() > end) throw new Error(`the page does not say "${text}"`);
      await page.reload();
    }
  },
  lure: ({ html }) => {
    lure = filled(html);
    return go(`http://127.0.0.1:${port}/lure`);
  },
};

let failed;
for (const [at, step] of walk.steps.entries()) {
  try {
    await STEPS[step.do](step);
  } catch (error) {
    await page.screenshot({ path: join(walk.folder, 'failed.png') }).catch(() => {});
    const text = await page.locator('body').innerText().catch(() => '');
    failed = { at, step, error: String(error), url: page.url(), text };
    break;
  }
}
await context.close();
listener.close();
process.stdout.write(JSON.stringify({ port: Number(port), seen, calls, complaints, failed }));
