//! What operators watch with: the dashboard and the alert rules speak of names that are there, and a real
//! Prometheus reads what is printed.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Guarded, Place, Server, has, repository, told, until};

/// The words of ours in an expression.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("hivelog_"));
    words.map(Into::into).collect()
}

/// The expressions of the dashboard, with its variables filled in.
fn drawn() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&repository("packaging/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let fill = |expr: &str| expr.replace("$instance", ".*").replace("$__rate_interval", "1m");
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets
            .into_iter()
            .map(move |target| (title.clone(), target["expr"].as_str().expect("a query").to_owned()))
    });
    targets.map(|(title, expr)| (title, fill(&expr))).collect()
}

/// The expressions of the alert rules.
fn alerts() -> Vec<String> {
    let rules = repository("packaging/alerts.yml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(Into::into).collect()
}

/// The names that are printed, a histogram's three included.
fn printed(server: &Server) -> (BTreeSet<String>, BTreeSet<String>) {
    let url = format!("{}/metrics", server.url);
    let text = told(&Command::new("curl").args(["-s", &url]).output().expect("curl"));
    let (mut all, mut families) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, sort) = line.split_once(' ').expect("a name and its type");
        families.insert(name.to_owned());
        match sort {
            "counter" => drop(all.insert(format!("{name}_total"))),
            "histogram" => all.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => drop(all.insert(name.to_owned())),
        }
    }
    (all, families)
}

#[test]
fn dashboard_and_alerts_name_what_is_printed() {
    let place = Place::new();
    let server = place.serve(&["--no-auth"]);
    let (all, families) = printed(&server);
    assert!(drawn().len() > 25 && alerts().len() > 10);
    let mut seen = BTreeSet::new();
    for expr in drawn().iter().map(|(_, expr)| expr).chain(&alerts()) {
        assert!(expr.starts_with("up{") || !names(expr).is_empty(), "nothing of ours: {expr}");
        for name in names(expr) {
            assert!(all.contains(&name), "{name} is not printed: {expr}");
        }
    }
    for (_, expr) in drawn() {
        seen.extend(names(&expr));
    }
    // The dashboard shows all of it.
    for family in families {
        assert!(seen.iter().any(|name| name.starts_with(&family)), "the dashboard does not show {family}");
    }
}

#[test]
fn the_rules_are_rules() {
    if !has("promtool", "the alert rules") {
        return;
    }
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/alerts.yml");
    told(
        &Command::new("promtool").args(["check", "rules", "--lint-fatal", rules]).output().expect("it runs"),
    );
    let place = Place::new();
    let tests = place.beside("tests.yml");
    std::fs::write(&tests, format!("rule_files: [\"{rules}\"]\n{RULE_TESTS}")).expect("written");
    told(&Command::new("promtool").args(["test", "rules"]).arg(&tests).output().expect("it runs"));
}

/// Alerts that matter most, fed with what they are to see.
const RULE_TESTS: &str = r#"
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'hivelog_failed{instance="a"}', values: '0x5 1x10' }
      - { series: 'hivelog_start_time_seconds{instance="a"}', values: '1000x5 1300x20' }
      - { series: 'hivelog_refused_appends_total{instance="a",reason="disk_full"}', values: '0x5 7x10' }
      - { series: 'hivelog_oldest_open_item_age_seconds{instance="a",kind="approval"}', values: '0+120x20' }
      - { series: 'hivelog_oldest_open_item_age_seconds{instance="a",kind="transient"}', values: '0+9000x20' }
      - { series: 'hivelog_wal_bytes{instance="a"}', values: '1000x3 900000000x20' }
    alert_rule_test:
      - { eval_time: 4m, alertname: HivelogFailed, exp_alerts: [] }
      - { eval_time: 4m, alertname: HivelogRestarted, exp_alerts: [] }
      - { eval_time: 4m, alertname: HivelogDiskFull, exp_alerts: [] }
      - eval_time: 8m
        alertname: HivelogRestarted
        exp_alerts:
          - exp_labels: { severity: warning, instance: a }
            exp_annotations:
              summary: hivelog on a was started anew
              description: By somebody, or by itself since the log failed. `journalctl -u hivelog` says which, `hivelog check` names cause and cure.
      - { eval_time: 7m, alertname: HivelogOperatorAwaited, exp_alerts: [] }
      - { eval_time: 7m, alertname: HivelogWalHeld, exp_alerts: [] }
      - eval_time: 8m
        alertname: HivelogFailed
        exp_alerts:
          - exp_labels: { severity: critical, instance: a }
            exp_annotations:
              summary: The log on a takes no more appends
              description: A sync failed, or another program wrote to the file; `hivelog check` names cause and cure. This is a host that embeds the crate, where reads go on; `hivelog serve` ends and is started anew.
      - eval_time: 9m
        alertname: HivelogOperatorAwaited
        exp_alerts:
          - exp_labels: { severity: info, instance: a, kind: approval }
            exp_annotations:
              summary: An agent has waited for the operator for 18m 0s
              description: "An open approval: `hivelog state`, or the page."
      - eval_time: 12m
        alertname: HivelogWalHeld
        exp_alerts:
          - exp_labels: { severity: warning, instance: a }
            exp_annotations:
              summary: The WAL on a has 858.3MiB
              description: A program that reads the file keeps a transaction open. Past 1 GiB appends are refused.
"#;

/// A Prometheus that scrapes the server each second with a token of its own, as an operator's does.
fn prometheus(place: &Place, server: &Server, token: &str) -> (Guarded, String) {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let listen = format!("127.0.0.1:{port}");
    let target = server.url.strip_prefix("http://").expect("a URL");
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: hivelog\n  authorization: {{ credentials: {token} }}\n  static_configs: [{{ targets: ['{target}'] }}]\n"
    );
    let path: PathBuf = place.beside("prometheus.yml");
    std::fs::write(&path, config).expect("written");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", path.display()));
    command.arg(format!("--storage.tsdb.path={}", place.text("tsdb")));
    command.arg(format!("--web.listen-address={listen}"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    (Guarded(child), format!("http://{listen}"))
}

fn query(base: &str, expr: &str) -> Option<Vec<Value>> {
    let url = format!("{base}/api/v1/query");
    let data = format!("query={expr}");
    let output =
        Command::new("curl").args(["-s", "-G", "--data-urlencode", &data, &url]).output().expect("curl");
    let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
    assert_eq!(answer["status"], "success", "{expr}: {answer}");
    answer["data"]["result"].as_array().cloned()
}

#[test]
fn a_prometheus_draws_every_panel() {
    if !has("prometheus", "the dashboard in a Prometheus") {
        return;
    }
    let place = Place::new();
    let server = place.serve(&[]);
    let token = place.told(&["token", "add", "--role", "metrics", "--name", "prometheus"]);
    let (_prometheus, base) = prometheus(&place, &server, &token);
    until("a sample", || query(&base, "hivelog_head_seq").filter(|found| !found.is_empty()));
    place.told(&["append", r#"{"kind":"approval_added","id":1,"agent":"ada","approval_kind":"spawn"}"#]);
    let is = |expr: &str, value: &str| {
        until(expr, || query(&base, expr)?.first().filter(|found| found["value"][1] == value).map(|_| ()));
    };
    is("up{job=\"hivelog\"}", "1");
    is("hivelog_open_items{kind=\"approval\"}", "1");
    is("hivelog_head_seq", "1");
    // A rate needs two samples that differ in time.
    until("a rate", || query(&base, "rate(hivelog_commits_total[1m])").filter(|found| !found.is_empty()));
    for (title, expr) in drawn() {
        let found = query(&base, &expr).expect("an answer");
        assert!(!found.is_empty(), "{title} shows nothing: {expr}");
    }
}
