/** @file How the browser tests run: the machine's own chromium, nothing downloaded, nothing repeated until it is green. */

import { defineConfig } from "@playwright/test";

const OUTPUT = "../../target/browser";

export default defineConfig({
  testDir: "specs",
  outputDir: `${OUTPUT}/results`,
  snapshotDir: `${OUTPUT}/snapshots`,
  // The figures in full are measured alone.
  workers: process.env.HIVELOG_FULL === "1" ? 1 : 4,
  retries: 0,
  fullyParallel: true,
  forbidOnly: true,
  // Patience, not a bound: a machine that others use too can be several times slower than an idle one.
  timeout: 180_000,
  expect: { timeout: 40_000 },
  reporter: [["list"], ["json", { outputFile: `${OUTPUT}/report.json` }]],
  use: {
    browserName: "chromium",
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env.HIVELOG_CHROMIUM || "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        // There is no screen: what would be drawn by a graphics card is not emulated for it.
        "--disable-gpu",
        // All pages are of one machine; a process less for each.
        "--disable-site-isolation-trials",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--disable-sync",
        "--no-first-run",
        "--no-pings",
        "--metrics-recording-only",
      ],
    },
  },
});
