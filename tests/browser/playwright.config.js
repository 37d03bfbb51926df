/** @file How the browser tests run: the machine's own chromium, nothing downloaded, nothing repeated until it is green. */

import { defineConfig } from "@playwright/test";

const OUTPUT = "../../target/browser";

export default defineConfig({
  testDir: "specs",
  outputDir: `${OUTPUT}/results`,
  snapshotDir: `${OUTPUT}/snapshots`,
  workers: 2,
  retries: 0,
  fullyParallel: true,
  forbidOnly: true,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: [["list"], ["json", { outputFile: `${OUTPUT}/report.json` }]],
  use: {
    browserName: "chromium",
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath: process.env.HIVELOG_CHROMIUM || "/usr/bin/chromium",
      args: [
        "--no-sandbox",
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
