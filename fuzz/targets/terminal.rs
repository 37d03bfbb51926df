//! Nothing that a terminal obeys or hides gets through the escaper, and nothing else is touched.

#![no_main]

use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (json, shown) = hivelog::fuzzing::escaped(text);
    for out in [&json, &shown] {
        check_harmless(out);
        let again = hivelog::fuzzing::escaped(out);
        assert_eq!(&again.0, out, "escaping is stable");
        assert_eq!(&again.1, out, "escaping is stable");
    }
    check_same(text, &json);
});

/// By the tables of Unicode, not by the escaper's own.
fn check_harmless(out: &str) {
    let (bidi, ignorable) =
        (CodePointSetData::new::<BidiControl>(), CodePointSetData::new::<DefaultIgnorableCodePoint>());
    let category = CodePointMapData::<GeneralCategory>::new();
    let mut before = '\0';
    for character in out.chars() {
        // It asks for the picture of the one before it; a second one would hide something.
        let is_picture = character == '\u{fe0f}' && !ignorable.contains(before) && before > ' ';
        let is_line = matches!(
            category.get(character),
            GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
        );
        assert!(!is_line, "{character:?} in {out:?}");
        assert!(!bidi.contains(character), "{character:?} in {out:?}");
        assert!(is_picture || !ignorable.contains(character), "{character:?} in {out:?}");
        before = character;
    }
}

/// In a string of JSON it is the same text as before.
fn check_same(text: &str, json: &str) {
    // What JSON itself writes with an escape is not the escaper's business.
    if text.contains(['"', '\\']) || text.chars().any(|character| character < ' ') {
        return;
    }
    let read: String = serde_json::from_str(&format!("\"{json}\"")).expect("still a string of JSON");
    assert_eq!(read, text);
}
