//! Copies that SQLite leaves behind where rows move from page to page.

use std::collections::{BTreeMap, BTreeSet};

use hivelog::{Draft, Log, Prune};

use super::redact;
use crate::dice::Dice;

/// Every mark that the file holds, and how often.
fn marks(log: &Log) -> BTreeMap<i64, usize> {
    let mut found = BTreeMap::new();
    for ending in ["", "-wal"] {
        let mut name = log.path().as_os_str().to_owned();
        name.push(ending);
        let bytes = std::fs::read(name).unwrap_or_default();
        for at in memchr::memmem::find_iter(&bytes, "mark-") {
            let digits = bytes[at + 5..].iter().take(7).map(|byte| char::from(*byte)).collect::<String>();
            if let Ok(number) = digits.parse() {
                *found.entry(number).or_default() += 1;
            }
        }
    }
    found
}

#[test]
fn nothing_of_a_text_is_left_in_pages_that_gave_rows_away() {
    let (_, mut dice) = Dice::announced("pages that gave rows away");
    for longest in [60, 600, 6_000] {
        let log = Log::temp().unwrap();
        let (mut sent, mut last) = (BTreeSet::new(), None);
        for number in 1..=3_000_i64 {
            let kind = if dice.percent(70) { "sent" } else { "delivered" };
            let filler = "x".repeat(usize::try_from(dice.below(longest)).unwrap());
            let text = format!(
                r#"{{"kind":"{kind}","from":"alice","to":"bob","body":"mark-{number:07}{filler}","at":1}}"#
            );
            if kind == "sent" {
                sent.insert(number);
            }
            last = Some(log.append(Draft::from_json(&text).unwrap()));
        }
        last.unwrap().wait().unwrap();
        let asked = Prune { before_seq: Some(2_900), kinds: vec!["sent".into()], ..Prune::default() };
        log.prune(&asked).unwrap();
        log.give_back().unwrap();
        let left: Vec<i64> = (1..=2_899).filter(|number| !sent.contains(number)).collect();
        // The test proves nothing unless SQLite leaves copies behind.
        assert_eq!(redact(&log, 3_000), Ok(3_001));
        let twice: Vec<i64> =
            marks(&log).into_iter().filter(|(_, count)| *count > 1).map(|(n, _)| n).collect();
        assert_eq!(twice, Vec::<i64>::new(), "copies in unused parts of pages");
        for number in left.iter().step_by(7).take(40) {
            redact(&log, *number).unwrap();
            assert_eq!(marks(&log).get(number), None, "{number} is redacted");
        }
        assert_eq!(hivelog::check(log.path()).unwrap().problems, Vec::<String>::new());
        let range = hivelog::Range { after: Some(2_950), ..hivelog::Range::default() };
        for row in log.range(&range).unwrap().rows().take(49) {
            assert!(row.payload().contains(&format!("mark-{:07}", row.seq().get())), "{row:?}");
        }
    }
}
