//! The topic table as a page for people: `docs/topics.md`.

use std::fmt::Write as _;

use super::table::{Durable, Row, Table, Way};

const HEAD: &str = "# Topics

Written from `topics/*.toml` by a test (`UPDATE_DOCS=1 cargo test topics::doc`); edit those files, not this page.
`{id}` is a device id, `[A-Za-z0-9_.:-]{1,64}`, and the CONNECT user name; `{gateway}` is the gateway's name.
The formats of the payloads, with an example each, are in `schemas/`.

| way | meaning |
|---|---|
| up | a device publishes it, nobody else |
| down | the gateway sends it to the device's connection, subscribed or not |
| gateway | the gateway writes it about a device; the device may read it |
| out | the gateway publishes it for operators |
| in | operators publish it |
";

const RIGHTS: &str = "
## Rights

| who | publishes | subscribes |
|---|---|---|
| device | its own uplinks | its own topics: filters that lie below `device/{id}` |
| viewer | nothing | filters below `device/`, `gateway/`, `homeassistant/`, `$SYS/` |
| operator | commands; application topics outside `device/`, `gateway/`, `$…` and the rows above | everything |
| admin | everything but `$…` and devices' uplinks | everything |
| nobody known | nothing | nothing |
";

/// The page, in Markdown.
pub fn page(table: &Table) -> String {
    let mut page = HEAD.to_owned();
    let mut dialect = "";
    for (of, row) in table.rows() {
        if of != dialect {
            dialect = of;
            let _ = write!(
                page,
                "\n## {of}\n\n| topic | way | QoS | retained | payload | in the store before its acknowledgement | what |\n|---|---|---|---|---|---|---|\n"
            );
        }
        let _ = writeln!(page, "{}", line(row));
    }
    page.push_str(RIGHTS);
    page
}

fn line(row: &Row) -> String {
    let qos: Vec<String> = row.qos.iter().map(u8::to_string).collect();
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |",
        row.pattern.replace('|', "\\|"),
        way(row.way),
        qos.join(" or "),
        if row.retained { "yes" } else { "no" },
        row.payload,
        durable(&row.durable),
        row.doc
    )
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
        Way::Gateway => "gateway",
        Way::Out => "out",
        Way::In => "in",
    }
}

fn durable(durable: &Durable) -> String {
    match durable {
        Durable::All(true) => "yes".to_owned(),
        Durable::All(false) => "no".to_owned(),
        Durable::ByType(types) => {
            types.iter().filter(|(_, durable)| **durable).map(|(kind, _)| kind.as_str()).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

    use super::*;

    #[test]
    fn the_committed_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/topics.md");
        // the same page whatever the gateway is called: the rows keep {gateway}
        let fresh = page(&Table::builtin("any").unwrap());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &fresh).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == fresh, "docs/topics.md is stale: UPDATE_DOCS=1 cargo test topics::doc");
    }
}
