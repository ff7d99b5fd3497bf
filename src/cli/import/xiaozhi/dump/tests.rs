//! Odd dumps, broken ones, and large ones.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufReader, Read};

use proptest::prelude::*;

use super::*;

fn rows(text: &[u8], tables: &[&str]) -> (Vec<(String, Row)>, Found) {
    let mut rows = Vec::new();
    let wanted = |table: &str| tables.contains(&table);
    let found = read(text, &wanted, &mut |table, row| {
        rows.push((table.to_owned(), row));
        true
    });
    (rows, found.unwrap())
}

/// The values of one column, one a row; "-" is NULL.
fn column(text: &str, name: &str) -> Vec<String> {
    let (rows, found) = rows(text.as_bytes(), &["t"]);
    assert_eq!(found.complaints, []);
    rows.iter().map(|(_, row)| row.values.get(name).cloned().unwrap_or_else(|| "-".into())).collect()
}

const TABLE: &str = "CREATE TABLE `t` (\n  `a` varchar(5) DEFAULT ',' COMMENT 'a, (b) '';',\n  b decimal(1,2),\n  \
                     PRIMARY KEY (`a`,`b`),\n  KEY `k` (`b`)\n) ENGINE=InnoDB;\n";

#[test]
fn quotes_escapes_and_literals_are_what_they_were() {
    let text = format!(
        "{TABLE}INSERT INTO `t` VALUES ('it''s','x'),(\"say \"\"hi\"\"\",1.5),('a\\'b\\\\c\\n\\0d\\%','),('),\n\
         (_binary 'bin',NULL),(0x48656C6C6F,-7),(x'4869',+1),(N'ü小智',null),('\\Z\\\"',NOW()),('',5e3);"
    );
    assert_eq!(
        column(&text, "a"),
        ["it's", "say \"hi\"", "a'b\\c\n\0d\\%", "bin", "Hello", "Hi", "ü小智", "\u{1a}\"", ""]
    );
    assert_eq!(column(&text, "b"), ["x", "1.5", "),(", "-", "-7", "+1", "-", "NOW", "5e3"]);
}

#[test]
fn comments_locks_conditions_schemas_and_other_orders_do_not_matter() {
    let text = format!(
        "\u{feff}-- MySQL dump; 'not a text\n/*M!999999\\- enable the sandbox mode */\n# neither; \"this\n/* nor ; ' this */\n\
         /*!40101 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `t`;\n{TABLE}LOCK TABLES `t` WRITE;\n\
         /*!40000 ALTER TABLE `t` DISABLE KEYS */;\ninsert  ignore into `db`.`t` (`b`, `A`) value (1,'one') /* ! */ , (2,'two');\n\
         REPLACE INTO db.t VALUES ('three',3)\nON DUPLICATE KEY UPDATE a = VALUES(a), b = (1);UNLOCK TABLES;\n\
         /*!50001 CREATE VIEW v AS SELECT ';' */;\nINSERT INTO t VALUES ('four',4)"
    );
    assert_eq!(column(&text, "a"), ["one", "two", "three", "four"]);
    assert_eq!(column(&text, "b"), ["1", "2", "3", "4"]);
    let (rows, _) = rows(text.as_bytes(), &["t"]);
    assert_eq!(rows[2].1.line, text[..text.find("('three'").unwrap()].matches('\n').count() + 1);
}

#[test]
fn what_is_not_wanted_is_passed_over_whatever_is_in_it_and_named() {
    let text =
        format!("INSERT INTO audio VALUES (1,_binary '\u{0}\\';\\n''(((');\n{TABLE}INSERT INTO t VALUES ('a',1);");
    assert_eq!(column(&text, "a"), ["a"]);
    let (_, found) = rows(text.as_bytes(), &["t"]);
    assert!(found.tables.contains("audio") && found.tables.contains("t"));
}

#[test]
fn a_row_that_does_not_fit_is_told_with_its_line_and_the_next_statement_is_read() {
    let text = format!(
        "INSERT INTO t VALUES (1,2);\n{TABLE}INSERT INTO t VALUES ('a',1,2),\n('b'),\n('c';\nINSERT INTO t VALUES ('d',4);\n\
         INSERT INTO t SET a = 1;\nINSERT INTO t VALUES ('e',5);\nINSERT INTO t VALUES ('f"
    );
    let (rows, found) = rows(text.as_bytes(), &["t"]);
    assert_eq!(rows.iter().map(|(_, row)| row.values["a"].as_str()).collect::<Vec<_>>(), ["a", "b", "d", "e"]);
    let lines: Vec<usize> = found.complaints.iter().map(|complaint| complaint.line).collect();
    assert_eq!(lines, [1, 8, 9, 10, 12, 14], "{:?}", found.complaints);
}

#[test]
fn who_has_enough_is_given_no_more() {
    let text = format!("{TABLE}INSERT INTO t VALUES ('a',1),('b',2),('c',3);");
    let mut seen = 0;
    let found = read(text.as_bytes(), &|_| true, &mut |_, _| {
        seen += 1;
        seen < 2
    });
    assert!(found.is_ok());
    assert_eq!(seen, 2);
}

/// Bytes that are made as they are read.
struct Endless {
    head: Vec<u8>,
    row: Vec<u8>,
    left: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            if self.left == 0 {
                return Ok(0);
            }
            self.left -= 1;
            self.head.clone_from(&self.row);
        }
        let count = buffer.len().min(self.head.len());
        buffer[..count].copy_from_slice(&self.head[..count]);
        self.head.drain(..count);
        Ok(count)
    }
}

#[test]
fn a_long_statement_is_read_row_by_row_and_a_value_without_end_is_cut() {
    let row = format!(",('{}',7)", "x".repeat(1_000)).into_bytes();
    let endless = Endless { head: format!("{TABLE}INSERT INTO t VALUES ('first',1)").into_bytes(), row, left: 2_000 };
    let mut count = 0;
    let found = read(BufReader::new(endless), &|_| true, &mut |_, row| {
        count += usize::from(row.values.len() == 2);
        true
    });
    assert_eq!((count, found.unwrap().complaints), (2_001, vec![]));
    let endless =
        Endless { head: format!("{TABLE}INSERT INTO t VALUES ('").into_bytes(), row: vec![b'y'; 8_192], left: 256 };
    let mut longest = 0;
    read(BufReader::new(endless), &|_| true, &mut |_, row| {
        longest = row.values.values().map(String::len).max().unwrap_or_default();
        true
    })
    .unwrap();
    assert_eq!(longest, 0, "a row without an end is none");
}

proptest! {
    #[test]
    fn any_bytes_give_rows_or_complaints(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        rows(&bytes, &["t"]);
    }

    #[test]
    fn any_words_do(words in proptest::collection::vec(
        proptest::sample::select(vec!["CREATE", "TABLE", "INSERT", "INTO", "t", "`t`", "(", ")", ",", ";", "VALUES", "'a'", "'", "\"",
            "`", "/*", "*/", "/*!4 ", "--", "\n", "\\", "1.5", "NULL", "x'", "0x4", "KEY", ".", " "]), 0..60)) {
        rows(words.concat().as_bytes(), &["t"]);
    }
}
