//! What the scripted swarm says and asks for.

/// The agents of the swarm.
pub(super) const AGENTS: [&str; 12] =
    ["ada", "borg", "cleo", "dex", "echo", "flint", "gaia", "hopper", "iris", "juno", "kepler", "linus"];

/// A change that an agent asks approval for.
pub(super) struct Change {
    pub(super) description: &'static str,
    pub(super) diff: &'static str,
}

pub(super) const CHANGES: [Change; 6] = [
    Change {
        description: "Retry the upload when the connection is reset\n\nThe store closes idle connections after 60 s; the first write on one fails.",
        diff: "diff --git a/src/upload.rs b/src/upload.rs\n--- a/src/upload.rs\n+++ b/src/upload.rs\n@@ -41,7 +41,10 @@ impl Uploader {\n     pub async fn put(&self, part: Part) -> Result<Etag> {\n-        self.send(&part).await\n+        match self.send(&part).await {\n+            Err(error) if error.is_reset() => self.send(&part).await,\n+            other => other,\n+        }\n     }\n }\n",
    },
    Change {
        description: "Count parsed lines, not bytes, in the progress bar",
        diff: "diff --git a/src/progress.py b/src/progress.py\n--- a/src/progress.py\n+++ b/src/progress.py\n@@ -12,5 +12,5 @@ def run(lines):\n     bar = Bar(total=len(lines))\n     for line in lines:\n         parse(line)\n-        bar.advance(len(line))\n+        bar.advance(1)\n",
    },
    Change {
        description: "Give the staging database room to grow",
        diff: "diff --git a/deploy/staging.yaml b/deploy/staging.yaml\n--- a/deploy/staging.yaml\n+++ b/deploy/staging.yaml\n@@ -8,4 +8,4 @@ database:\n   engine: postgres\n   volume:\n-    size: 10Gi\n+    size: 40Gi\n     class: fast\n",
    },
    Change {
        description: "Do not log the session cookie",
        diff: "diff --git a/web/log.ts b/web/log.ts\n--- a/web/log.ts\n+++ b/web/log.ts\n@@ -3,6 +3,7 @@ const hidden = new Set([\n   \"authorization\",\n   \"proxy-authorization\",\n+  \"cookie\",\n ]);\n \n export function headers(request: Request) {\n",
    },
    Change {
        description: "Test that an empty feed is valid",
        diff: "diff --git a/tests/feed.rs b/tests/feed.rs\n--- a/tests/feed.rs\n+++ b/tests/feed.rs\n@@ -88,3 +88,9 @@ fn one_item() {\n     assert_eq!(feed.items.len(), 1);\n }\n+\n+#[test]\n+fn no_items() {\n+    let feed = parse(EMPTY).unwrap();\n+    assert!(feed.items.is_empty());\n+}\n",
    },
    Change {
        description: "Remove the unused colour table",
        diff: "diff --git a/src/colors.c b/src/colors.c\ndeleted file mode 100644\n--- a/src/colors.c\n+++ /dev/null\n@@ -1,6 +0,0 @@\n-#include \"colors.h\"\n-\n-static const unsigned table[] = {\n-    0xff0000, 0x00ff00, 0x0000ff,\n-};\n-\n",
    },
];

/// A question for the operator, with the options to choose from.
pub(super) struct Ask {
    pub(super) question: &'static str,
    pub(super) options: &'static [&'static str],
    pub(super) multi: bool,
}

pub(super) const QUESTIONS: [Ask; 6] = [
    Ask {
        question: "The migration takes about four minutes of downtime. When shall it run?",
        options: &["now", "tonight at 02:00", "never"],
        multi: false,
    },
    Ask {
        question: "Which platforms does the release have to support?",
        options: &["linux x86-64", "linux arm64", "macOS", "windows"],
        multi: true,
    },
    Ask { question: "What shall the new repository be called?", options: &[], multi: false },
    Ask {
        question: "Two tests of the payment module fail only at night. Skip them, or look for the cause?",
        options: &["skip", "look for the cause"],
        multi: false,
    },
    Ask {
        question: "The vendor's API key expires on Friday. Who renews it?",
        options: &["I do", "ask finance"],
        multi: false,
    },
    Ask {
        question: "May the crawler fetch 10,000 pages of the partner's site?",
        options: &["yes", "only 1,000", "no"],
        multi: false,
    },
];

pub(super) const MESSAGES: [&str; 14] = [
    "the tests are green on my branch, yours next",
    "I take the parser, please leave src/parse alone until noon",
    "found it: the cache key did not hold the locale",
    "could you review the retry loop? it is 12 lines",
    "rebased on main, no conflicts",
    "benchmarks: 18% faster, memory unchanged",
    "blocked on the approval for the staging volume",
    "the flaky test was a real race, fix is on its way",
    "your last message did not say which table",
    "docs are updated, with an example that runs",
    "I see 40 requests/s from one client, is that you?",
    "done. next on my list: the upload timeout",
    "no objections here",
    "the fixture had a trailing space; sorry for the noise",
];
