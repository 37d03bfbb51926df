//! The names that the authors of a repository have as agents.

use std::collections::{HashMap, HashSet};

use crate::cli::git::Commit;
use crate::event::{OPERATOR, TTL_WATCHDOG, is_name};
use crate::limits::NAME_CHARS_MAX;

/// The agent of each commit. Distinct authors stay distinct: of two that would have one name, the one
/// that comes later gets a number.
pub(crate) fn agents(commits: &[Commit]) -> Vec<String> {
    let mut taken: HashSet<String> = [OPERATOR, TTL_WATCHDOG].map(String::from).into();
    let mut names: HashMap<&(String, String), String> = HashMap::new();
    let mut agents = Vec::with_capacity(commits.len());
    for commit in commits {
        let name = names.entry(&commit.author).or_insert_with(|| {
            let wish = slug(&commit.author);
            let mut name = wish.clone();
            for number in 2.. {
                if taken.insert(name.clone()) {
                    break;
                }
                let ending = format!("-{number}");
                let room = NAME_CHARS_MAX - ending.len();
                name = format!("{}{ending}", wish.get(..room).unwrap_or(&wish));
            }
            name
        });
        agents.push(name.clone());
    }
    agents
}

/// A name for an agent, from the author's name or else from the address.
fn slug((name, address): &(String, String)) -> String {
    let account = address.split('@').next().unwrap_or_default();
    [name.as_str(), account]
        .into_iter()
        .map(slug_of)
        .find(|slug| is_name(slug))
        .unwrap_or_else(|| "author".into())
}

fn slug_of(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase).map(plain) {
        if slug.len() >= NAME_CHARS_MAX {
            break;
        }
        if character.is_ascii_alphanumeric() || (matches!(character, '.' | '_') && !slug.is_empty()) {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches(['-', '.', '_']).to_owned()
}

/// The letter below an accent, so that such names stay readable.
const fn plain(letter: char) -> char {
    match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' => 'd',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ğ' => 'g',
        'ì'..='ï' | 'ı' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ő' => 'o',
        'ř' => 'r',
        'ś' | 'ş' | 'š' | 'ß' => 's',
        'ť' => 't',
        'ù'..='ü' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(name: &str, address: &str) -> Commit {
        Commit {
            hash: "a".repeat(40),
            author: (name.into(), address.into()),
            at: 0,
            subject: String::new(),
            message: String::new(),
        }
    }

    #[test]
    fn distinct_authors_are_distinct_agents() {
        let commits = [
            commit("Jörg Müller", "j@x"),
            commit("Operator", "o@x"),
            commit("李雷", "lilei@x"),
            commit("", ""),
            commit("Jorg Muller", "j@x"),
            commit("Jörg Müller", "j@x"),
            commit(&"x".repeat(99), "x@x"),
            commit(&"X".repeat(98), "x@x"),
        ];
        let agents = agents(&commits);
        let long = ["x".repeat(64), format!("{}-2", "x".repeat(62))];
        let expected = [
            "jorg-muller",
            "operator-2",
            "lilei",
            "author",
            "jorg-muller-2",
            "jorg-muller",
            &long[0],
            &long[1],
        ];
        assert_eq!(agents, expected);
        assert!(agents.iter().all(|agent| is_name(agent)));
    }
}
