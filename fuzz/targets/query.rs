//! A query that is understood means the same when it is written down and read again.

#![no_main]

use hivelog::fuzzing::asked;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|query: &str| {
    if let Some((understood, written)) = asked(query) {
        let (again, twice) = asked(&written).unwrap_or_else(|| panic!("{written} was refused"));
        assert_eq!(again, understood, "{written}");
        assert_eq!(twice, written);
        assert!((1..=10_000).contains(&understood.0.limit));
        assert!(understood.2.as_secs() <= 60);
    }
});
