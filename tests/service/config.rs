//! File, environment and flags: each wins over what was before, and nothing unknown is passed over.

use std::collections::BTreeMap;

use crate::{Place, Server, ended, hivelog, repository, told, until};

/// What holds, and where it comes from, by key.
fn printed(place: &Place, env: &[(&str, &str)], args: &[&str]) -> BTreeMap<String, (String, String)> {
    let mut command = place.verb(&["serve", "--print-config"]);
    let output = command.envs(env.iter().copied()).args(args).output().expect("it runs");
    let parts = |line: &str| {
        let (key, rest) = line.split_once(" = ")?;
        let (value, origin) = rest.rsplit_once("  # ")?;
        Some((key.to_owned(), (value.to_owned(), origin.to_owned())))
    };
    told(&output).lines().filter_map(parts).collect()
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

/// Why it does not start, which is one line and exit code 2.
#[track_caller]
fn refused(place: &Place, env: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = place.verb(&["serve", "--listen", "127.0.0.1:0"]);
    let output = ended(command.envs(env.iter().copied()).args(args));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!place.db().exists(), "it was opened");
    said
}

fn file(place: &Place, text: &str) -> String {
    let path = place.beside("serve.toml");
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let place = Place::new();
    let path = file(
        &place,
        "listen = \"127.0.0.1:1\"\nconnections_per_token = 7\ndurability = \"normal\"\npeer_answers = true\n\
         kind = [\"one\", \"two\"]\ndb = \"/nowhere/file.db\"\n",
    );
    let config = ["--config", path.as_str()];
    let db = place.db().to_str().expect("a path").to_owned();
    let db = (format!("{db:?}"), "the environment".to_owned());

    let at_first = printed(&place, &[], &[]);
    assert_eq!(at_first["listen"], pair("\"127.0.0.1:4483\"", "default"));
    assert_eq!(at_first["peer_answers"], pair("false", "default"));
    assert_eq!(at_first["db"], db);

    let from_file = printed(&place, &[], &config);
    assert_eq!(from_file["listen"], pair("\"127.0.0.1:1\"", &path));
    assert_eq!(from_file["connections_per_token"], pair("7", &path));
    assert_eq!(from_file["durability"], pair("\"normal\"", &path));
    assert_eq!(from_file["peer_answers"], pair("true", &path));
    assert_eq!(from_file["kind"], pair("[\"one\", \"two\"]", &path));
    assert_eq!(from_file["db"], db, "HIVELOG_DB is of the environment too");

    let env = [
        ("HIVELOG__LISTEN", "127.0.0.1:2"),
        ("HIVELOG__CONNECTIONS_PER_TOKEN", "8"),
        ("HIVELOG__PEER_ANSWERS", "false"),
        ("HIVELOG__KIND", "three four"),
        ("HIVELOG_LOG", "debug"),
        // Of other verbs, and no business of this one.
        ("HIVELOG_URL", "http://127.0.0.1:9"),
        ("HIVELOG_TOKEN", "secret-of-the-operator"),
    ];
    let from_env = printed(&place, &env, &config);
    assert_eq!(from_env["listen"], pair("\"127.0.0.1:2\"", "the environment"));
    assert_eq!(from_env["connections_per_token"], pair("8", "the environment"));
    assert_eq!(from_env["peer_answers"], pair("false", "the environment"));
    assert_eq!(from_env["kind"], pair("[\"three\", \"four\"]", "the environment"));
    assert_eq!(from_env["log"], pair("\"debug\"", "the environment"));
    assert_eq!(from_env["durability"], pair("\"normal\"", &path));
    assert!(!format!("{from_env:?}").contains("secret"));

    let flags =
        [&config[..], &["--listen", "127.0.0.1:3", "--kind", "five", "--peer-answers=false"]].concat();
    let from_flags = printed(&place, &env[..2], &flags);
    assert_eq!(from_flags["listen"], pair("\"127.0.0.1:3\"", "the command line"));
    assert_eq!(from_flags["kind"], pair("[\"five\"]", "the command line"));
    assert_eq!(from_flags["peer_answers"], pair("false", "the command line"));
    assert_eq!(from_flags["connections_per_token"], pair("8", "the environment"));

    // The file is named by the environment too, and what is printed is a file that says the same.
    let output = place.verb(&["serve", "--print-config"]).env("HIVELOG_CONFIG", &path).output();
    let text = told(&output.expect("it runs"));
    let again = printed(&place, &[], &["--config", &file(&place, &text)]);
    assert_eq!(again["kind"].0, "[\"one\", \"two\"]");
    assert_eq!(again["durability"].0, "\"normal\"");
    assert!(!place.db().exists(), "nothing is served");
}

#[test]
fn what_is_unknown_or_wrong_is_refused_with_its_place() {
    let place = Place::new();
    for (text, words) in [
        ("listn = \"127.0.0.1:0\"\n", "unknown key listn"),
        ("[serve]\nlisten = \"127.0.0.1:0\"\n", "unknown key serve"),
        ("public-url = \"https://x.example\"\n", "unknown key public-url"),
        ("config = \"other.toml\"\n", "unknown key config"),
        ("print_config = true\n", "unknown key print_config"),
        ("help = true\n", "unknown key help"),
        ("durability = \"most\"\n", "invalid value 'most' for '--durability"),
        ("durability = [\"full\"]\n", "durability: expected a text"),
        ("connections_per_token = 0\n", "expected a number from 1"),
        ("no_auth = \"maybe\"\n", "maybe"),
        ("no_auth = true\npublic_url = [\"https://x.example\"]\n", "cannot be used with"),
        ("socket = [{path = \"x\"}]\n", "socket: expected a text"),
        ("listen = \n", "line 1"),
    ] {
        let path = file(&place, text);
        let said = refused(&place, &[], &["--config", &path]);
        assert!(said.contains(&path) && said.contains(words), "{text}: {said}");
    }
    assert!(refused(&place, &[("HIVELOG__LISTN", "x")], &[]).contains("the environment: unknown key listn"));
    assert!(
        refused(&place, &[("HIVELOG__DURABILITY", "most")], &[]).contains("the environment: invalid value")
    );
    let missing = place.text("missing.toml");
    assert!(refused(&place, &[], &["--config", &missing]).contains(&missing));
    let typed = place.verb(&["serve", "--log", "hivelog=loud"]).output().expect("it runs");
    assert_eq!(typed.status.code(), Some(2), "{typed:?}");
}

#[test]
fn a_server_is_what_its_file_says() {
    let place = Place::new();
    let socket = place.text("alice.sock");
    let path = file(
        &place,
        &format!(
            "listen = \"127.0.0.1:0\"\nno_auth = true\nkind = [\"nodot\"]\nsocket = [\"{socket},agent=alice\"]\n"
        ),
    );
    let server = Server::start(&place, place.verb(&["serve", "--config", &path]).env("HIVELOG_LOG", "info"));
    place.told(&["append", "--url", &server.url, r#"{"kind":"nodot"}"#]);
    let sent = hivelog(&["send", "bob", "hello", "--url", &format!("unix:{socket}")]).output();
    told(&sent.expect("it runs"));
    // The mirror follows the message.
    until("a message of alice's", || {
        place.told(&["history", "--json", "--url", &server.url]).contains("\"from\":\"alice\"").then_some(())
    });
    assert_eq!(server.stop(), Some(0));
    // A flag turns off what the file turns on, and so lets in what that shut out.
    let mut command =
        place.verb(&["serve", "--config", &path, "--no-auth=false", "--public-url", "https://x.example"]);
    let server = Server::start(&place, &mut command);
    let asked = place.verb(&["state", "--url", &server.url]).output().expect("it runs");
    assert!(place.beside("log.db.token").exists() && asked.status.success());
    std::fs::remove_file(place.beside("log.db.token")).expect("removed");
    let asked = place.verb(&["state", "--url", &server.url]).output().expect("it runs");
    assert!(!asked.status.success(), "a credential is asked for");
}

/// With everything in it said, the example is accepted, and it leaves nothing out.
#[test]
fn the_example_shows_every_key() {
    let place = Place::new();
    let example = repository("packaging/hivelog.toml");
    let said: String = example
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| {
            line.split_once(" = ")
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let path = file(&place, &said);
    let known = printed(&place, &[], &["--config", &path]);
    let shown: Vec<&str> = said.lines().filter_map(|line| line.split(" = ").next()).collect();
    for key in known.keys() {
        assert!(shown.contains(&key.as_str()), "the example does not show {key}");
    }
    let set = known.iter().filter(|(key, (_, origin))| *origin == path || *key == "db").count();
    assert_eq!(set, shown.len(), "{known:#?}");
    let output = place.verb(&["serve", "--print-config", "--config", &path]).output().expect("it runs");
    assert!(!told(&output).contains("is not set"), "{}", told(&output));
}
