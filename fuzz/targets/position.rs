//! Where a stream begins: a position is taken as it was written, or refused; silence never becomes "from now".

#![no_main]

use hivelog::Cursor;
use hivelog::fuzzing::begins;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let header = begins(Some(bytes), None);
    assert_ne!(header, Some(None), "a position was given");
    if let Some(Some(cursor)) = header {
        let text = std::str::from_utf8(bytes).expect("a position is text");
        check(text, cursor);
        // The header wins, whatever the query says.
        assert_eq!(begins(Some(bytes), Some("no position")), header);
    } else {
        assert_eq!(begins(Some(bytes), Some("7")), None, "a bad header is refused, not passed over");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let query = begins(None, Some(text));
    assert_ne!(query, Some(None), "a position was given");
    if let Some(Some(cursor)) = query {
        check(text, cursor);
    }
});

fn check(text: &str, cursor: Cursor) {
    let printed = cursor.to_string();
    assert_eq!(printed.parse(), Ok(cursor));
    let (id, digits) = text.split_once('-').map_or(("", text), |(id, digits)| (id, digits));
    let (printed_id, printed_digits) =
        printed.split_once('-').map_or(("", printed.as_str()), |(id, digits)| (id, digits));
    assert_eq!(id, printed_id);
    // Zeros in front mean nothing; all else does.
    let bare = |digits: &str| digits.trim_start_matches('0').to_owned();
    assert_eq!(bare(digits), bare(printed_digits));
}
