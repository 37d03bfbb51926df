//! Foreign text on a terminal: nothing that it would obey, and nothing that it would hide.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Foreign text that moves no cursor and hides nothing: what a terminal would obey, or show as
/// nothing, is written as `\uXXXX`. In JSON such characters only occur in strings, where this is the
/// same character.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    let mut before = '\0';
    for character in text.chars() {
        if is_unsafe(character) && !(character == '\u{fe0f}' && is_pictured(before)) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String does not fail.
                let _written = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
        before = character;
    }
    Cow::Owned(out)
}

/// What a terminal obeys, and what it shows as nothing: controls, bidi marks, fillers, all that is ignored by
/// default.
const fn is_unsafe(character: char) -> bool {
    matches!(
        character,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether the character has a picture, which a mark behind it (U+FE0F) asks for: one hides nothing.
const fn is_pictured(character: char) -> bool {
    matches!(character, '#' | '*' | '0'..='9' | '\u{a9}' | '\u{ae}' | '\u{203c}'..='\u{27ff}' | '\u{2900}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}')
        && !is_unsafe(character)
}

/// The same for people: line ends and tabs in the short form that they know.
pub(crate) fn shown(text: &str, raw: bool) -> Cow<'_, str> {
    if raw {
        return Cow::Borrowed(text);
    }
    if text.contains(['\n', '\r', '\t']) {
        let short = text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
        return Cow::Owned(escaped(&short).into_owned());
    }
    escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(escaped("a\u{1b}[2Jb"), "a\\u001b[2Jb");
        assert_eq!(escaped("\u{9b}31m\u{7f}"), "\\u009b31m\\u007f");
        assert_eq!(escaped("x\u{202e}y\u{200b}z"), "x\\u202ey\\u200bz");
        assert_eq!(escaped("\u{e0041}"), "\\udb40\\udc41");
        assert_eq!(escaped("\u{e0100}\u{180b}\u{34f}"), "\\udb40\\udd00\\u180b\\u034f");
        assert_eq!(escaped("grün 漢字 🐝"), "grün 漢字 🐝");
        assert_eq!(shown("a\nb\t\0", false), "a\\nb\\t\\u0000");
        assert_eq!(shown("a\nb", true), "a\nb");
    }

    #[test]
    fn one_mark_asks_for_a_picture_and_more_of_them_hide_something() {
        assert_eq!(escaped("⚠\u{fe0f} 1\u{fe0f}\u{20e3}"), "⚠\u{fe0f} 1\u{fe0f}\u{20e3}");
        assert_eq!(escaped("⚠\u{fe0f}\u{fe0f}"), "⚠\u{fe0f}\\ufe0f");
        assert_eq!(escaped("a\u{fe0f}⚠\u{fe0e}"), "a\\ufe0f⚠\\ufe0e");
    }

    #[test]
    fn escaped_json_is_the_same_json() -> Result<(), serde_json::Error> {
        let json = "{\"a\":\"\u{202e}\u{7f}\u{e0041}\"}";
        let before: serde_json::Value = serde_json::from_str(json)?;
        let after: serde_json::Value = serde_json::from_str(&escaped(json))?;
        assert_eq!(before, after);
        Ok(())
    }
}
