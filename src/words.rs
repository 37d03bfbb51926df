//! What a search finds: the words of a text.
//!
//! A word is a run of letters and digits in lower case, cut at 64 characters; a character of a script that
//! writes no spaces is a word by itself. The text of an event are its string values, at any depth. The index
//! and a plain scan both go by this file, so an answer does not depend on which of them gave it.

use std::borrow::Cow;

use crate::error::Refusal;
use crate::limits::{QUERY_CHARS_MAX, QUERY_WORDS_MAX, WORD_CHARS_MAX};

/// Characters of a beginning that an index knows by itself.
pub(crate) const PREFIX_CHARS: usize = 3;

/// Words that all have to be in an event's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<Word>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Whether words that begin so are meant too.
    pub(crate) is_prefix: bool,
}

impl std::str::FromStr for Words {
    type Err = Refusal;

    /// Reads what was typed: whole words, or with `*` behind it the beginning of one.
    ///
    /// # Errors
    /// There is no word in it, or more than 16, or more than 1,000 characters.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.chars().count() > QUERY_CHARS_MAX {
            return Err(Refusal::invalid("q", format!("has more than {QUERY_CHARS_MAX} characters")));
        }
        let mut words: Vec<Word> = Vec::new();
        let mut rest = text;
        while let Some((word, after)) = next_word(rest) {
            let is_prefix = after.starts_with('*');
            let word = Word { text: word.into_owned(), is_prefix };
            if !words.contains(&word) {
                words.push(word);
            }
            rest = after;
        }
        match words.len() {
            0 => Err(Refusal::invalid("q", "holds no word")),
            count if count > QUERY_WORDS_MAX => {
                Err(Refusal::invalid("q", format!("holds more than {QUERY_WORDS_MAX} words")))
            }
            _ => Ok(Self(words)),
        }
    }
}

impl Words {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Word> {
        self.0.iter()
    }

    /// Whether an index can tell where they are.
    pub(crate) fn are_selective(&self) -> bool {
        self.0.iter().any(Word::is_selective)
    }

    /// Whether all of them are in the text of this payload.
    pub(crate) fn are_in(&self, payload: &[u8]) -> bool {
        let mut missing: Vec<&Word> = self.0.iter().collect();
        each_text(payload, |text| {
            let mut rest = text;
            while !missing.is_empty()
                && let Some((word, after)) = next_word(rest)
            {
                missing.retain(|wanted| !wanted.is(&word));
                rest = after;
            }
        });
        missing.is_empty()
    }
}

impl Word {
    /// Whether an index can tell where it is: what begins with one or two letters is nearly everywhere, and an
    /// index would have to gather all of it first (measured: seconds, for a million events).
    pub(crate) fn is_selective(&self) -> bool {
        !self.is_prefix || self.text.chars().count() >= PREFIX_CHARS
    }

    fn is(&self, word: &str) -> bool {
        if self.is_prefix { word.starts_with(&self.text) } else { word == self.text }
    }
}

/// Gives every word of a payload's text.
pub(crate) fn each_word(payload: &[u8], mut each: impl FnMut(&str)) {
    each_text(payload, |text| {
        let mut rest = text;
        while let Some((word, after)) = next_word(rest) {
            each(&word);
            rest = after;
        }
    });
}

/// The first word, and what comes after it.
fn next_word(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let text = text.get(begin_of_word(text)?..)?;
    let end = text.bytes().take_while(u8::is_ascii_alphanumeric).count();
    // Most words are of plain letters to their end, and read without a look at each one's properties.
    if end > 0 && text.as_bytes().get(end).is_none_or(u8::is_ascii) {
        let (word, after) = text.split_at_checked(end)?;
        let word = word.get(..end.min(WORD_CHARS_MAX))?;
        let is_lower = !word.bytes().any(|byte| byte.is_ascii_uppercase());
        return Some((if is_lower { word.into() } else { word.to_ascii_lowercase().into() }, after));
    }
    let (mut word, mut count) = (String::new(), 0);
    for (at, c) in text.char_indices() {
        let alone = stands_alone(c);
        if !c.is_alphanumeric() || (alone && at > 0) {
            return Some((word.into(), text.get(at..).unwrap_or_default()));
        }
        if count < WORD_CHARS_MAX {
            word.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
            count += 1;
        }
        if alone {
            return Some((word.into(), text.get(at + c.len_utf8()..).unwrap_or_default()));
        }
    }
    Some((word.into(), ""))
}

fn begin_of_word(text: &str) -> Option<usize> {
    let plain = text.bytes().position(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())?;
    Some(plain + text.get(plain..)?.find(char::is_alphanumeric)?)
}

/// Scripts that write no spaces: Han with its kin, kana, Thai to Myanmar, Khmer.
const fn stands_alone(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{312f}' | '\u{31a0}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// Gives every string value of a JSON text, without its escapes; names of members are none.
fn each_text(payload: &[u8], mut each: impl FnMut(&str)) {
    let mut rest = payload;
    while let Some(begin) = rest.iter().position(|byte| *byte == b'"') {
        rest = rest.get(begin + 1..).unwrap_or_default();
        let mut end = 0;
        while let Some(byte) = rest.get(end) {
            match byte {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let raw = rest.get(..end).unwrap_or(rest);
        rest = rest.get(end + 1..).unwrap_or_default();
        let is_name = rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if !is_name && let Some(text) = plain(raw) {
            each(&text);
        }
    }
}

/// A JSON string's text; none where it is no text.
fn plain(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(raw).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::{Words, each_word};

    fn words(payload: &str) -> Vec<String> {
        let mut words = Vec::new();
        each_word(payload.as_bytes(), |word| words.push(word.to_owned()));
        words
    }

    fn finds(q: &str, payload: &str) -> bool {
        q.parse::<Words>().is_ok_and(|words| words.are_in(payload.as_bytes()))
    }

    #[test]
    fn words_are_those_of_the_values() {
        assert_eq!(
            words(r#"{"from":"alice","body":"Ship IT, v2.1!\nnow","n":7,"deep":[{"key":"ÄRGER"}]}"#),
            ["alice", "ship", "it", "v2", "1", "now", "ärger"]
        );
        assert_eq!(words(r#"{"body":"say \"hello\" \u00e9t\u00e9 \\"}"#), ["say", "hello", "été"]);
        assert_eq!(words(r#"{"a" : "b" , "c":""}"#), ["b"]);
        assert_eq!(words(r#"{"body":"東京tower"}"#), ["東", "京", "tower"]);
        assert_eq!(
            words(r#"{"body":"towerÉ naïve CAFÉ x東, – y"}"#),
            ["toweré", "naïve", "café", "x", "東", "y"]
        );
        assert!(words("{").is_empty() && words(r#"{"a":"un"#).len() == 1);
    }

    #[test]
    fn all_words_have_to_be_there() {
        let payload = r#"{"from":"alice","body":"the deployment of web is done"}"#;
        assert!(finds("done deployment", payload) && finds("ALICE web", payload));
        assert!(!finds("deploy", payload) && finds("deploy*", payload));
        assert!(!finds("body", payload) && !finds("done failed", payload));
        assert!(finds("東京", r#"{"b":"私は東京に"}"#));
        let long = "x".repeat(100);
        assert!(finds(&long, &format!(r#"{{"b":"{long}y"}}"#)), "both are cut");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for bad in
            ["", " ", "*", "!?", &"a ".repeat(501), &(0..17).map(|n| format!("w{n} ")).collect::<String>()]
        {
            assert!(bad.parse::<Words>().is_err(), "{bad:?}");
        }
    }
}
